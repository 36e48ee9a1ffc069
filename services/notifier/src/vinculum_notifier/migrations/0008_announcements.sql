-- Whatever the command service is told is a row of one table: a command, sent until it has answered. `about` names what
-- the command says something of; what is said of the same thing later takes its place.
CREATE TABLE announcement (
    tenant text NOT NULL,
    about text COLLATE "C" NOT NULL,
    path text NOT NULL,
    body jsonb NOT NULL,
    announced_at timestamptz NOT NULL DEFAULT now(),
    idempotency_key uuid NOT NULL DEFAULT gen_random_uuid(),
    position bigint, -- of the answer
    refused text,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, about)
);
CREATE INDEX announcement_due ON announcement (next_attempt_at) WHERE position IS NULL;

INSERT INTO announcement
SELECT tenant, 'unsubscription/' || account_id || '/' || topic || '/' || address_hash,
    '/v1/accounts/' || account_id || '/contacts/' || contact_id || '/unsubscribe',
    jsonb_build_object('address_hash', address_hash, 'topic', topic),
    asked_at, idempotency_key, position, refused, attempts, next_attempt_at
FROM unsubscription;
INSERT INTO announcement
SELECT tenant, 'suppression/' || address_hash,
    '/v1/contacts/' || contact_id || '/emails/' || CASE WHEN released THEN 'release' ELSE 'suppress' END,
    jsonb_build_object('address_hash', address_hash),
    suppressed_at, idempotency_key, position, refused, attempts, next_attempt_at
FROM suppressed_address WHERE contact_id IS NOT NULL;

DROP TABLE unsubscription;
DELETE FROM suppressed_address WHERE released;
ALTER TABLE suppressed_address
    DROP COLUMN contact_id,
    DROP COLUMN released,
    DROP COLUMN idempotency_key,
    DROP COLUMN position,
    DROP COLUMN refused,
    DROP COLUMN attempts,
    DROP COLUMN next_attempt_at;

ALTER TABLE announcement ENABLE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON announcement TO vinculum_notifier_http
    USING (tenant = current_setting('vinculum.tenant', true));
CREATE POLICY all_tenants ON announcement TO vinculum_notifier_worker USING (true);
GRANT SELECT, INSERT, UPDATE ON announcement TO vinculum_notifier_http, vinculum_notifier_worker;

-- An announcement is pending until the event that comes of it has been applied here.
CREATE VIEW announcement_status WITH (security_invoker = true) AS
SELECT tenant, about, announced_at,
    announcement.position IS NULL OR announcement.position > coalesce(subscription.position, 0) AS pending
FROM announcement LEFT JOIN subscription USING (tenant);
GRANT SELECT ON announcement_status TO vinculum_notifier_http, vinculum_notifier_worker;
