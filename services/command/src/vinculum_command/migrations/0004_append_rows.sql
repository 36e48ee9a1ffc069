-- `append` takes its rows as rows, an array a table: that costs a client less than an array a column. The one of 0002
-- stays for processes of the version before, until a later migration drops it.
CREATE TYPE append_relied AS (tenant text, key text, token uuid);
CREATE TYPE append_head AS (
    tenant text, key text, version int, token uuid, base uuid, state json, account_id uuid, contact_id uuid, entry text,
    pending boolean
);
CREATE TYPE append_request AS (
    tenant text, principal text, key text, hash bytea, status smallint, answer json, ends int, event_count int,
    kept interval
);
CREATE TYPE append_refused AS (tenant text, principal text, key text);
CREATE TYPE append_event AS (
    tenant text, "offset" int, id uuid, type text, stream text, stream_version int, effective_at timestamptz,
    account_id uuid, contact_id uuid, attributes json, data json, personal json
);

-- Appends what a group of commands has decided: all of it, or nothing. It decides nothing itself.
--
-- The tenants' rows are taken first and held until the commit, so that position order is commit order, and a reader
-- that has seen a position has seen all before it. What was relied on is compared under those rows.
-- VN001: a head has moved. VN002: a key is stored already. The caller reads again and decides again.
CREATE FUNCTION append(
    tenants_ text[], event_counts int[], relied append_relied[], moved append_head[], answered append_request[],
    refused append_refused[], recorded append_event[]
) RETURNS TABLE (tenant text, base bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    names text[]; bases bigint[]; times timestamptz[]; at timestamptz; touched int;
BEGIN
    PERFORM set_config('vinculum.tenants', tenants_::text, true);
    INSERT INTO tenants (tenant)
        SELECT u.tenant FROM unnest(tenants_, event_counts) AS u (tenant, n) WHERE u.n > 0 ON CONFLICT DO NOTHING;
    PERFORM FROM tenants WHERE tenant = ANY (tenants_) ORDER BY tenant FOR UPDATE;
    at := clock_timestamp();
    SELECT array_agg(tenant), array_agg(last_position), array_agg(greatest(last_recorded_at, at))
        INTO names, bases, times FROM tenants WHERE tenant = ANY (tenants_);
    UPDATE tenants SET last_position = last_position + u.n, last_recorded_at = greatest(last_recorded_at, at)
        FROM unnest(tenants_, event_counts) AS u (tenant, n) WHERE tenants.tenant = u.tenant AND u.n > 0;
    IF EXISTS (SELECT FROM unnest(relied) AS r LEFT JOIN heads USING (tenant, key)
               WHERE heads.token IS DISTINCT FROM r.token) THEN
        RAISE EXCEPTION 'a head has moved' USING ERRCODE = 'VN001';
    END IF;
    MERGE INTO heads USING unnest(moved) AS n ON heads.tenant = n.tenant AND heads.key = n.key
    WHEN MATCHED AND heads.token = n.base THEN UPDATE SET version = n.version, token = n.token, state = n.state,
        account_id = n.account_id, contact_id = n.contact_id, entry = n.entry, pending = n.pending
    WHEN NOT MATCHED AND n.base IS NULL THEN INSERT
        VALUES (n.tenant, n.key, n.version, n.token, n.state, n.account_id, n.contact_id, n.entry, n.pending);
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched <> cardinality(moved) THEN
        RAISE EXCEPTION 'a head has moved' USING ERRCODE = 'VN001';
    END IF;
    INSERT INTO requests (tenant, principal, key, hash, status, answer, position, event_count, expires_at)
    SELECT r.tenant, r.principal, r.key, r.hash, r.status, r.answer, b.base + r.ends, r.event_count, at + r.kept
    FROM unnest(answered) AS r JOIN unnest(names, bases) AS b (tenant, base) USING (tenant) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched <> cardinality(answered) THEN
        RAISE EXCEPTION 'a key is stored already' USING ERRCODE = 'VN002';
    END IF;
    -- After those of this group are in: what repeats one of them was decided upon it, and refused wrongly.
    IF EXISTS (SELECT FROM unnest(refused) AS r
               CROSS JOIN LATERAL (SELECT FROM requests AS q WHERE (q.tenant, q.principal, q.key)
                                   = (r.tenant, r.principal, r.key) OFFSET 0) AS found) THEN
        RAISE EXCEPTION 'a key is stored already' USING ERRCODE = 'VN002';
    END IF;
    INSERT INTO events (tenant, position, id, type, stream, stream_version, recorded_at, effective_at,
                        account_id, contact_id, attributes, data, personal)
    SELECT e.tenant, b.base + e."offset", e.id, e.type, e.stream, e.stream_version, b.at, e.effective_at,
        e.account_id, e.contact_id, e.attributes, e.data, e.personal
    FROM unnest(recorded) AS e JOIN unnest(names, bases, times) AS b (tenant, base, at) USING (tenant);
    IF cardinality(recorded) > 0 THEN
        PERFORM pg_notify('vinculum_events', CASE WHEN length(tenants_::text) < 7000
            THEN array_to_string(tenants_, ',') ELSE '' END);
    END IF;
    RETURN QUERY SELECT * FROM unnest(names, bases);
END $$;

REVOKE ALL ON FUNCTION append(
    text[], int[], append_relied[], append_head[], append_request[], append_refused[], append_event[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append(
    text[], int[], append_relied[], append_head[], append_request[], append_refused[], append_event[]
) TO vinculum_command_appender;
