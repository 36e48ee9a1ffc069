CREATE TABLE history (
    tenant text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    recorded_at timestamptz NOT NULL,
    effective_at timestamptz NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    reason text,
    account_id uuid,
    contact_id uuid,
    data jsonb NOT NULL,
    personal jsonb,
    PRIMARY KEY (tenant, position)
);
CREATE INDEX history_of_account ON history (tenant, account_id, position) WHERE account_id IS NOT NULL;
CREATE INDEX history_of_contact ON history (tenant, contact_id, position) WHERE contact_id IS NOT NULL;
