-- The event store. Every key and every statement starts with the tenant.

CREATE TABLE tenants (
    tenant text PRIMARY KEY,
    last_position bigint NOT NULL DEFAULT 0,
    last_recorded_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

CREATE TABLE events (
    tenant text NOT NULL,
    position bigint NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    stream text NOT NULL,
    stream_version int NOT NULL,
    recorded_at timestamptz NOT NULL,
    effective_at timestamptz,
    account_id uuid,
    contact_id uuid,
    attributes json NOT NULL, -- CloudEvents context attributes, but position and time
    data json NOT NULL,
    personal json, -- of exactly one subject; a column of its own, so that it can go without the rest
    PRIMARY KEY (tenant, position),
    UNIQUE (tenant, stream, stream_version)
);

-- The fold of the events that name a key, written with them. `token` is the last of those events.
CREATE TABLE heads (
    tenant text NOT NULL,
    key text NOT NULL,
    version int NOT NULL,
    token uuid NOT NULL,
    state json NOT NULL,
    account_id uuid, -- of a link that is there
    contact_id uuid,
    entry text, -- of a link: 'on' or 'suspended' where somebody may enter, or would
    pending boolean NOT NULL,
    PRIMARY KEY (tenant, key)
) WITH (fillfactor = 80);
CREATE INDEX heads_by_account ON heads (tenant, account_id, key) WHERE account_id IS NOT NULL;
CREATE INDEX heads_by_contact ON heads (tenant, contact_id, key) WHERE contact_id IS NOT NULL;
CREATE INDEX heads_pending ON heads (tenant, key) WHERE pending;

-- What was answered for an idempotency key. The events are the `event_count` ones up to `position`.
CREATE TABLE requests (
    tenant text NOT NULL,
    principal text NOT NULL,
    key text NOT NULL,
    hash bytea NOT NULL,
    status smallint NOT NULL,
    answer json NOT NULL,
    position bigint NOT NULL,
    event_count int NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, principal, key)
);
CREATE INDEX requests_by_expiry ON requests (expires_at);

CREATE TABLE relayed (
    tenant text PRIMARY KEY,
    position bigint NOT NULL
) WITH (fillfactor = 50);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['vinculum_command_appender', 'vinculum_command_reader', 'vinculum_command_log'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', name);
        END IF;
        EXECUTE format('GRANT %I TO vinculum_command', name);
    END LOOP;
END $$;

-- The appender decides for the tenants of one batch, a reader reads one tenant, the log's readers read all of it.
GRANT SELECT, INSERT, UPDATE ON tenants, heads TO vinculum_command_appender;
GRANT SELECT, INSERT ON requests TO vinculum_command_appender;
GRANT SELECT, DELETE ON requests TO vinculum_command_log;
GRANT SELECT, INSERT ON events TO vinculum_command_appender;
GRANT SELECT ON tenants, events, heads TO vinculum_command_reader, vinculum_command_log;
GRANT SELECT, INSERT, UPDATE ON relayed TO vinculum_command_log;
GRANT SELECT ON schema_migrations TO vinculum_command_reader;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
ALTER TABLE events FORCE ROW LEVEL SECURITY;
ALTER TABLE heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE heads FORCE ROW LEVEL SECURITY;
ALTER TABLE requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE requests FORCE ROW LEVEL SECURITY;
ALTER TABLE relayed ENABLE ROW LEVEL SECURITY;
ALTER TABLE relayed FORCE ROW LEVEL SECURITY;

CREATE POLICY of_the_batch ON tenants TO vinculum_command_appender
    USING (tenant = ANY ((SELECT nullif(current_setting('vinculum.tenants', true), ''))::text[]));
CREATE POLICY of_the_batch ON events TO vinculum_command_appender
    USING (tenant = ANY ((SELECT nullif(current_setting('vinculum.tenants', true), ''))::text[]));
CREATE POLICY of_the_batch ON heads TO vinculum_command_appender
    USING (tenant = ANY ((SELECT nullif(current_setting('vinculum.tenants', true), ''))::text[]));
CREATE POLICY of_the_batch ON requests TO vinculum_command_appender
    USING (tenant = ANY ((SELECT nullif(current_setting('vinculum.tenants', true), ''))::text[]));
CREATE POLICY of_one_tenant ON tenants TO vinculum_command_reader
    USING (tenant = (SELECT current_setting('vinculum.tenant', true)));
CREATE POLICY of_one_tenant ON events TO vinculum_command_reader
    USING (tenant = (SELECT current_setting('vinculum.tenant', true)));
CREATE POLICY of_one_tenant ON heads TO vinculum_command_reader
    USING (tenant = (SELECT current_setting('vinculum.tenant', true)));
CREATE POLICY of_all ON tenants TO vinculum_command_log USING (true);
CREATE POLICY of_all ON events TO vinculum_command_log USING (true);
CREATE POLICY of_all ON heads TO vinculum_command_log USING (true);
CREATE POLICY of_all ON requests TO vinculum_command_log USING (true);
CREATE POLICY of_all ON relayed TO vinculum_command_log USING (true);
