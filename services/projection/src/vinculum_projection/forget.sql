-- Deletes what the read models have of a tenant: from all tables of the schema, so that none can be forgotten.
CREATE FUNCTION forget(gone text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
        CONTINUE WHEN name IN ('subscription', 'subscription_offset');
        EXECUTE format('DELETE FROM %I WHERE tenant = $1', name) USING gone;
    END LOOP;
END
$$;
