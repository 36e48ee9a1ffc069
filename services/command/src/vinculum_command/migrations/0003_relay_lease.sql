-- Which relay is active, and until when: one row, or none while no relay runs.
CREATE TABLE relay_lease (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    holder uuid NOT NULL,
    expires_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON relay_lease TO vinculum_command_log;
