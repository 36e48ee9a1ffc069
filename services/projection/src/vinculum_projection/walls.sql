-- For all tables of the schema, so that none can be forgotten: the consumer writes for every tenant; the reader sees
-- the tenant that its transaction names and, where none is named, nothing.
DO $$
DECLARE
    name text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO vinculum_projection_reader, vinculum_projection_consumer', current_schema());
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO vinculum_projection_consumer', name);
        EXECUTE format('CREATE POLICY every_tenant ON %I TO vinculum_projection_consumer USING (true) WITH CHECK (true)', name);
        CONTINUE WHEN name = 'subscription_offset';  -- of partitions, which tenants share
        EXECUTE format('GRANT SELECT ON %I TO vinculum_projection_reader', name);
        EXECUTE format('CREATE POLICY one_tenant ON %I FOR SELECT TO vinculum_projection_reader
            USING (tenant = current_setting(''vinculum.tenant'', true))', name);
    END LOOP;
END
$$;
