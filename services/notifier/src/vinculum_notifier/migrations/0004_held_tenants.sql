-- A tenant is held while what was applied of its log is not what the log has. A copy of what changed in subscription.sql.
ALTER TABLE subscription
    ADD COLUMN event_id uuid, -- of the last event that was applied; null until the next one is
    ADD COLUMN held text CHECK (held IN ('diverged', 'too_many_parked', 'rebuilding')),
    ADD COLUMN held_at timestamptz;
