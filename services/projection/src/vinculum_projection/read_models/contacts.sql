CREATE TABLE contacts (
    tenant text COLLATE "C" NOT NULL,
    contact_id uuid NOT NULL,
    first_name text,
    last_name text,
    name text,  -- as one shows it
    folded_name text COLLATE "C" NOT NULL,  -- last name first
    letter text COLLATE "C" NOT NULL,
    phones jsonb NOT NULL,
    locale text,
    external_ids jsonb NOT NULL,
    active boolean NOT NULL,
    created_at timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (tenant, contact_id)
);
CREATE INDEX contacts_by_name ON contacts (tenant, folded_name, contact_id);

CREATE TABLE contact_words (
    tenant text COLLATE "C" NOT NULL,
    contact_id uuid NOT NULL,
    start text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, contact_id, start)
);
CREATE INDEX contact_words_by_start ON contact_words (tenant, start, contact_id);

CREATE TABLE contact_emails (
    tenant text COLLATE "C" NOT NULL,
    contact_id uuid NOT NULL,
    email_id uuid NOT NULL,
    address text,
    folded_address text COLLATE "C" NOT NULL,
    address_hash text NOT NULL,
    label text,
    is_primary boolean NOT NULL,
    PRIMARY KEY (tenant, contact_id, email_id)
);
CREATE INDEX contact_emails_by_address ON contact_emails (tenant, folded_address, contact_id);
