-- One role per account (peer authentication), and one that owns everything and cannot log in.
DO $$
DECLARE
    name text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'paranal-owner') THEN
        CREATE ROLE "paranal-owner" NOLOGIN;
    END IF;
    FOREACH name IN ARRAY ARRAY['paranal-national', 'paranal-alliance', 'paranal-source'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
    END LOOP;
END
$$;

REVOKE ALL ON DATABASE paranal FROM PUBLIC;
GRANT CONNECT ON DATABASE paranal TO "paranal-national", "paranal-alliance", "paranal-source";
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- A question must not wait for a lock or a plan gone wrong: the deadline between countries is 4 s.
ALTER ROLE "paranal-alliance" SET statement_timeout = '3s';
ALTER ROLE "paranal-national" SET statement_timeout = '3s';
ALTER ROLE "paranal-alliance" SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE "paranal-national" SET idle_in_transaction_session_timeout = '5s';
