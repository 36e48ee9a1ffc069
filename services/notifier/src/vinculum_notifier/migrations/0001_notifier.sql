-- The worker consumes and delivers, for all tenants. The HTTP side sees the tenant that its transaction names, and
-- nothing without one. Neither owns a table. Roles belong to the whole cluster: another database may have made them.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vinculum_notifier_http') THEN
        CREATE ROLE vinculum_notifier_http NOLOGIN NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vinculum_notifier_worker') THEN
        CREATE ROLE vinculum_notifier_worker NOLOGIN NOBYPASSRLS;
    END IF;
END
$$;
GRANT vinculum_notifier_http, vinculum_notifier_worker TO vinculum_notifier;

-- A copy of subscription.sql of vinculum_shared: a migration stays as it is when that file changes.
CREATE TABLE subscription (
    tenant text PRIMARY KEY,
    position bigint NOT NULL,
    recorded_at timestamptz,
    applied_at timestamptz
) WITH (fillfactor = 50);

CREATE TABLE subscription_offset (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE parked (
    tenant text NOT NULL,
    stream text NOT NULL,
    position bigint NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    reason text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, stream, position),
    UNIQUE (tenant, event_id)
);

-- What came before is history, and nobody is mailed about it. One row says that the positions were taken.
CREATE TABLE start_position (
    tenant text PRIMARY KEY,
    position bigint NOT NULL
);
CREATE TABLE first_start (
    once boolean PRIMARY KEY DEFAULT true CHECK (once),
    at timestamptz NOT NULL DEFAULT now()
);

-- The state of each stream that routing and mails look at.
CREATE TABLE known (
    tenant text NOT NULL,
    stream text COLLATE "C" NOT NULL,
    state jsonb NOT NULL,
    PRIMARY KEY (tenant, stream)
);

-- The ledger, which is the queue. `id` is made from event, recipient and topic: an event that is read again adds nothing.
CREATE TABLE notification (
    tenant text NOT NULL,
    id uuid NOT NULL,
    event_id uuid NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    topic text NOT NULL,
    template text NOT NULL,
    account_id uuid,
    record_id uuid,
    invitation_id uuid,
    traceparent text, -- of the request that it all began with
    contact_id uuid,
    email_id uuid,
    staff_id uuid,
    address text,
    address_hash text,
    outcome text NOT NULL CHECK (outcome IN ('queued', 'sent', 'held', 'skipped', 'failed', 'nobody')),
    reason text NOT NULL,
    reply text,
    message_id text,
    attempts integer NOT NULL DEFAULT 0,
    unclear integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    made_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id)
);
CREATE INDEX notification_due ON notification (next_attempt_at) WHERE outcome = 'queued';
CREATE INDEX notification_newest ON notification (tenant, position, id);
CREATE INDEX notification_of_account ON notification (tenant, account_id, position, id);
CREATE INDEX notification_of_contact ON notification (tenant, contact_id, position, id);

-- Addresses that a mail server has said do not exist.
CREATE TABLE suppressed_address (
    tenant text NOT NULL,
    address_hash text NOT NULL,
    reply text NOT NULL,
    suppressed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, address_hash)
);

-- Holds until `position` is applied: from then on the preference says the same, and staff may change it again.
CREATE TABLE unsubscription (
    tenant text NOT NULL,
    account_id uuid NOT NULL,
    contact_id uuid NOT NULL,
    email_id uuid NOT NULL,
    topic text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    idempotency_key uuid NOT NULL DEFAULT gen_random_uuid(),
    position bigint,
    refused text,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, account_id, contact_id, email_id, topic)
);
CREATE INDEX unsubscription_due ON unsubscription (next_attempt_at) WHERE position IS NULL;

ALTER TABLE subscription ENABLE ROW LEVEL SECURITY;
ALTER TABLE parked ENABLE ROW LEVEL SECURITY;
ALTER TABLE known ENABLE ROW LEVEL SECURITY;
ALTER TABLE notification ENABLE ROW LEVEL SECURITY;
ALTER TABLE unsubscription ENABLE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON subscription TO vinculum_notifier_http
    USING (tenant = current_setting('vinculum.tenant', true));
CREATE POLICY one_tenant ON parked TO vinculum_notifier_http
    USING (tenant = current_setting('vinculum.tenant', true));
CREATE POLICY one_tenant ON known TO vinculum_notifier_http
    USING (tenant = current_setting('vinculum.tenant', true));
CREATE POLICY one_tenant ON notification TO vinculum_notifier_http
    USING (tenant = current_setting('vinculum.tenant', true));
CREATE POLICY one_tenant ON unsubscription TO vinculum_notifier_http
    USING (tenant = current_setting('vinculum.tenant', true));
CREATE POLICY all_tenants ON subscription TO vinculum_notifier_worker USING (true);
CREATE POLICY all_tenants ON parked TO vinculum_notifier_worker USING (true);
CREATE POLICY all_tenants ON known TO vinculum_notifier_worker USING (true);
CREATE POLICY all_tenants ON notification TO vinculum_notifier_worker USING (true);
CREATE POLICY all_tenants ON unsubscription TO vinculum_notifier_worker USING (true);

GRANT SELECT ON subscription, parked, known, notification, first_start TO vinculum_notifier_http;
GRANT SELECT, INSERT, UPDATE ON unsubscription TO vinculum_notifier_http;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    subscription, subscription_offset, parked, start_position, first_start,
    known, notification, suppressed_address, unsubscription
    TO vinculum_notifier_worker;
