-- A row for each address that is invited, active or suspended; none for those that are off.
CREATE TABLE access (
    tenant text COLLATE "C" NOT NULL,
    account_id uuid NOT NULL,
    contact_id uuid NOT NULL,
    email_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('invited', 'active', 'suspended')),
    event_id uuid NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, account_id, contact_id, email_id)
);
