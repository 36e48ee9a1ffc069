CREATE TABLE accounts (
    tenant text COLLATE "C" NOT NULL,
    account_id uuid NOT NULL,
    name text,
    folded_name text COLLATE "C" NOT NULL,
    letter text COLLATE "C" NOT NULL,
    kind text,
    details jsonb,
    external_ids jsonb NOT NULL,
    archived boolean NOT NULL,
    created_at timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (tenant, account_id)
);
CREATE INDEX accounts_by_name ON accounts (tenant, folded_name, account_id);

CREATE TABLE account_words (
    tenant text COLLATE "C" NOT NULL,
    account_id uuid NOT NULL,
    start text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, account_id, start)
);
CREATE INDEX account_words_by_start ON account_words (tenant, start, account_id);
