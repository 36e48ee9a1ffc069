CREATE TABLE links (
    tenant text COLLATE "C" NOT NULL,
    account_id uuid NOT NULL,
    contact_id uuid NOT NULL,
    account_name text COLLATE "C" NOT NULL,  -- the account's folded name: pages come in its order
    role text,
    job_title text,
    is_primary boolean NOT NULL,
    since timestamptz NOT NULL,
    features text[] NOT NULL,
    topics text[] NOT NULL,
    topics_by_email jsonb NOT NULL,
    version bigint NOT NULL,
    linked_event_id uuid NOT NULL,
    linked_position bigint NOT NULL,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, account_id, contact_id)
);
CREATE INDEX links_by_contact ON links (tenant, contact_id, account_name, account_id);
