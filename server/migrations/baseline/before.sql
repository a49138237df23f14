-- Roles are global to the cluster, so they may be there already.
DO $$
DECLARE wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['demarc_app', 'demarc_aaa', 'demarc_ingest', 'demarc_directory'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', wanted);
    END IF;
  END LOOP;
  -- An owner that is no superuser has to be a member to hand over the directory functions.
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    EXECUTE format('GRANT demarc_directory TO %I', current_user);
  END IF;
END $$;

CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE EXTENSION IF NOT EXISTS pg_trgm;

GRANT USAGE ON SCHEMA public TO demarc_app, demarc_aaa, demarc_ingest, demarc_directory;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
