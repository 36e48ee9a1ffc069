-- Appends what a group of commands has decided: all of it, or nothing. It decides nothing itself.
--
-- The tenants' rows are taken first and held until the commit, so that position order is commit order, and a reader
-- that has seen a position has seen all before it. What was relied on is compared under those rows.
-- VN001: a head has moved. VN002: a key is stored already. The caller reads again and decides again.
CREATE FUNCTION append(
    tenants_ text[], event_counts int[],
    relied_tenants text[], relied_keys text[], relied_tokens uuid[],
    head_tenants text[], head_keys text[], head_versions int[], head_tokens uuid[], head_bases uuid[], head_states json[],
    head_accounts uuid[], head_contacts uuid[], head_entries text[], head_pendings boolean[],
    request_tenants text[], request_principals text[], request_keys text[], request_hashes bytea[],
    request_statuses smallint[], request_answers json[], request_ends int[], request_counts int[], request_kept interval[],
    refused_tenants text[], refused_principals text[], refused_keys text[],
    event_tenants text[], event_offsets int[], event_ids uuid[], event_types text[], event_streams text[],
    event_versions int[], event_effective timestamptz[], event_accounts uuid[], event_contacts uuid[],
    event_attributes json[], event_data json[], event_personal json[]
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
    IF EXISTS (SELECT FROM unnest(relied_tenants, relied_keys, relied_tokens) AS r (tenant, key, token)
               LEFT JOIN heads USING (tenant, key) WHERE heads.token IS DISTINCT FROM r.token) THEN
        RAISE EXCEPTION 'a head has moved' USING ERRCODE = 'VN001';
    END IF;
    MERGE INTO heads USING unnest(head_tenants, head_keys, head_versions, head_tokens, head_bases, head_states,
                                  head_accounts, head_contacts, head_entries, head_pendings)
        AS n (tenant, key, version, token, base, state, account_id, contact_id, entry, pending)
        ON heads.tenant = n.tenant AND heads.key = n.key
    WHEN MATCHED AND heads.token = n.base THEN UPDATE SET version = n.version, token = n.token, state = n.state,
        account_id = n.account_id, contact_id = n.contact_id, entry = n.entry, pending = n.pending
    WHEN NOT MATCHED AND n.base IS NULL THEN INSERT
        VALUES (n.tenant, n.key, n.version, n.token, n.state, n.account_id, n.contact_id, n.entry, n.pending);
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched <> cardinality(head_keys) THEN
        RAISE EXCEPTION 'a head has moved' USING ERRCODE = 'VN001';
    END IF;
    INSERT INTO requests (tenant, principal, key, hash, status, answer, position, event_count, expires_at)
    SELECT r.tenant, r.principal, r.key, r.hash, r.status, r.answer, b.base + r.ends, r.n, at + r.kept
    FROM unnest(request_tenants, request_principals, request_keys, request_hashes, request_statuses, request_answers,
                request_ends, request_counts, request_kept)
        AS r (tenant, principal, key, hash, status, answer, ends, n, kept)
    JOIN unnest(names, bases) AS b (tenant, base) USING (tenant) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched <> cardinality(request_keys) THEN
        RAISE EXCEPTION 'a key is stored already' USING ERRCODE = 'VN002';
    END IF;
    -- After those of this group are in: what repeats one of them was decided upon it, and refused wrongly.
    IF EXISTS (SELECT FROM unnest(refused_tenants, refused_principals, refused_keys) AS r (tenant, principal, key)
               CROSS JOIN LATERAL (SELECT FROM requests AS q WHERE (q.tenant, q.principal, q.key)
                                   = (r.tenant, r.principal, r.key) OFFSET 0) AS found) THEN
        RAISE EXCEPTION 'a key is stored already' USING ERRCODE = 'VN002';
    END IF;
    INSERT INTO events (tenant, position, id, type, stream, stream_version, recorded_at, effective_at,
                        account_id, contact_id, attributes, data, personal)
    SELECT e.tenant, b.base + e.n, e.id, e.type, e.stream, e.version, b.at, e.effective, e.account, e.contact,
        e.attributes, e.data, e.personal
    FROM unnest(event_tenants, event_offsets, event_ids, event_types, event_streams, event_versions, event_effective,
                event_accounts, event_contacts, event_attributes, event_data, event_personal)
        AS e (tenant, n, id, type, stream, version, effective, account, contact, attributes, data, personal)
    JOIN unnest(names, bases, times) AS b (tenant, base, at) USING (tenant);
    IF cardinality(event_ids) > 0 THEN
        PERFORM pg_notify('vinculum_events', CASE WHEN length(tenants_::text) < 7000
            THEN array_to_string(tenants_, ',') ELSE '' END);
    END IF;
    RETURN QUERY SELECT * FROM unnest(names, bases);
END $$;

REVOKE ALL ON FUNCTION append FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append TO vinculum_command_appender;
