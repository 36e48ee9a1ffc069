-- How far this service has applied each tenant's log, and the id of the last event that it applied. The compare-and-set
-- on position is the fence between instances. While a tenant is held, nothing more of it is applied.
CREATE TABLE subscription (
    tenant text PRIMARY KEY,
    position bigint NOT NULL,
    event_id uuid,
    recorded_at timestamptz,
    applied_at timestamptz,
    held text CHECK (held IN ('diverged', 'too_many_parked', 'rebuilding')),
    held_at timestamptz
) WITH (fillfactor = 50);

-- Where to go on reading the topic: the first record of a partition that is not applied.
CREATE TABLE subscription_offset (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- Events that could not be applied, and those of their streams that came after. The log keeps what they say.
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
