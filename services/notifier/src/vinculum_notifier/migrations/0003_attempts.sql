-- `claims` counts how often a deliverer took the mail, and is the fence between deliverers; `attempts` those that got as
-- far as the mail server, or would have; `unclear` those of which it is not known whether the server took the mail.
ALTER TABLE notification ADD COLUMN claims integer NOT NULL DEFAULT 0;
ALTER TABLE notification ADD COLUMN waits_for text;
UPDATE notification SET claims = attempts WHERE outcome = 'queued';

ALTER TABLE notification DROP CONSTRAINT notification_outcome_check;
ALTER TABLE notification ADD CONSTRAINT notification_outcome_check
    CHECK (outcome IN ('queued', 'sent', 'sent_unconfirmed', 'held', 'skipped', 'failed', 'nobody'));

-- No longer a reason: a mail follows an address that is corrected.
UPDATE notification SET reason = 'no_address' WHERE reason = 'address_changed';
