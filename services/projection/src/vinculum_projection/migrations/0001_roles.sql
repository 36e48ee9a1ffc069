-- Before the code. Roles belong to the whole cluster: another database of this service may have made them.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vinculum_projection_reader') THEN
        CREATE ROLE vinculum_projection_reader NOLOGIN NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vinculum_projection_consumer') THEN
        CREATE ROLE vinculum_projection_consumer NOLOGIN NOBYPASSRLS;
    END IF;
END
$$;
GRANT vinculum_projection_reader, vinculum_projection_consumer TO vinculum_projection;
