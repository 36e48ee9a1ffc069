-- Tenants take turns at the mail server, and invitations go before other mail: see CLAIM in ledger.py, which walks this
-- index from tenant to tenant. `notification_due` tells it whether there is anything to walk for.
CREATE INDEX notification_turns ON notification ((topic = 'invitation'), tenant, next_attempt_at)
    WHERE outcome = 'queued';
