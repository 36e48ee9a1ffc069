-- A recipient's wish is kept by the address that the mail went to, whatever becomes of the link and the contact's
-- address. `contact_id` is whose link the command names.
ALTER TABLE unsubscription DROP CONSTRAINT unsubscription_pkey;
ALTER TABLE unsubscription ADD COLUMN address_hash text;
UPDATE unsubscription SET address_hash = email ->> 'address_hash'
FROM known, jsonb_array_elements(known.state -> 'emails') AS email
WHERE known.tenant = unsubscription.tenant AND known.stream = 'contact/' || contact_id
    AND email ->> 'email_id' = email_id::text;
-- Without an address there is nothing to keep; of two contacts with one address, the wish that waits or came last.
DELETE FROM unsubscription WHERE address_hash IS NULL;
DELETE FROM unsubscription WHERE ctid IN (
    SELECT ctid FROM (
        SELECT ctid, row_number() OVER (
            PARTITION BY tenant, account_id, topic, address_hash ORDER BY position IS NOT NULL, asked_at DESC) AS number
        FROM unsubscription
    ) AS numbered WHERE number > 1
);
ALTER TABLE unsubscription
    ALTER COLUMN address_hash SET NOT NULL,
    DROP COLUMN email_id,
    ADD PRIMARY KEY (tenant, account_id, topic, address_hash);
