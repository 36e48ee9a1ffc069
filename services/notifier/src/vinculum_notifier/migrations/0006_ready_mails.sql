-- A mail is ready until it is claimed or put off, and again when its time has come. Turns are taken among tenants with
-- mails that are ready: so a claim costs the same, however many others wait for another attempt. See CLAIM in ledger.py.
ALTER TABLE notification ADD COLUMN ready boolean NOT NULL DEFAULT true;
UPDATE notification SET ready = false WHERE outcome = 'queued' AND next_attempt_at > now();
DROP INDEX notification_turns;
CREATE INDEX notification_turns ON notification ((topic = 'invitation'), tenant, next_attempt_at)
    WHERE outcome = 'queued' AND ready;
CREATE INDEX notification_later ON notification (next_attempt_at) WHERE outcome = 'queued' AND NOT ready;
