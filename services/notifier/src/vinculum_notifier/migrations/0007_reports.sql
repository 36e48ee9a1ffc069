-- The command service is told of each address that mail can't arrive at, and of its release, until it has answered.
ALTER TABLE suppressed_address
    ADD COLUMN contact_id uuid, -- one that had the address: whom the command names
    ADD COLUMN released boolean NOT NULL DEFAULT false,
    ADD COLUMN idempotency_key uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN position bigint,
    ADD COLUMN refused text,
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN next_attempt_at timestamptz NOT NULL DEFAULT now();
UPDATE suppressed_address SET contact_id = (
    SELECT contact_id FROM notification
    WHERE notification.tenant = suppressed_address.tenant
        AND notification.address_hash = suppressed_address.address_hash AND contact_id IS NOT NULL
    LIMIT 1);
UPDATE suppressed_address SET position = 0, refused = 'contact_not_found' WHERE contact_id IS NULL;
CREATE INDEX suppressed_address_due ON suppressed_address (next_attempt_at) WHERE position IS NULL;
