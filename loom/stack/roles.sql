-- Loom's roles and its database; running it again brings them up to date.
-- psql variables: database, loom_owner_password, loom_service_password, loom_reader_password.
--   loom_owner    owns the schema and runs migrations
--   loom_service  reads and writes rows: the database service
--   loom_reader   reads rows: what ExecuteQuery runs under
SELECT format('CREATE ROLE %I LOGIN', wanted.name)
  FROM (VALUES ('loom_owner'), ('loom_service'), ('loom_reader')) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.name) \gexec

ALTER ROLE loom_owner PASSWORD :'loom_owner_password';
ALTER ROLE loom_service PASSWORD :'loom_service_password';
ALTER ROLE loom_reader PASSWORD :'loom_reader_password';
ALTER ROLE loom_reader SET default_transaction_read_only = on;
ALTER ROLE loom_reader SET statement_timeout = '30s';

SELECT format('CREATE DATABASE %I OWNER loom_owner', :'database')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec

REVOKE ALL ON DATABASE postgres, template1, :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO loom_service, loom_reader;

\connect :"database"
ALTER SCHEMA public OWNER TO loom_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO loom_service, loom_reader;

ALTER DEFAULT PRIVILEGES FOR ROLE loom_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE loom_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO loom_service;
ALTER DEFAULT PRIVILEGES FOR ROLE loom_owner IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO loom_service;
ALTER DEFAULT PRIVILEGES FOR ROLE loom_owner IN SCHEMA public
  GRANT EXECUTE ON FUNCTIONS TO loom_service;
ALTER DEFAULT PRIVILEGES FOR ROLE loom_owner IN SCHEMA public
  GRANT SELECT ON TABLES TO loom_reader;
