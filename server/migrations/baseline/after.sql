-- Binds the transaction to one tenant. Row-level security reads app.tenant; the row tells the caller what it needs to know.
-- No row: the tenant is closed or unknown, the user is no longer active, or what let the request in is good no more.
-- A reseller's transactions see its own customers only: app.reseller is read by a restrictive policy.
CREATE FUNCTION begin_tenant(
  wanted_tenant int, wanted_user bigint, wanted_session bigint DEFAULT NULL, wanted_token bigint DEFAULT NULL
)
RETURNS TABLE (id int, slug text, currency text, time_zone text, is_sandbox boolean, clock_offset interval, settings jsonb)
LANGUAGE plpgsql AS $$
DECLARE held_role text;
BEGIN
  PERFORM set_config('app.tenant', wanted_tenant::text, true);
  IF wanted_user IS NOT NULL THEN
    SELECT u.role INTO held_role FROM app_user u
    WHERE u.tenant_id = wanted_tenant AND u.id = wanted_user AND u.status = 'active';
    IF NOT FOUND THEN RETURN; END IF;
    IF held_role = 'reseller' THEN
      PERFORM set_config('app.reseller', wanted_user::text, true);
    END IF;
  END IF;
  IF wanted_session IS NOT NULL AND NOT EXISTS (
    SELECT FROM user_session s WHERE s.tenant_id = wanted_tenant AND s.id = wanted_session AND s.revoked_at IS NULL
  ) THEN RETURN; END IF;
  IF wanted_token IS NOT NULL AND NOT EXISTS (
    SELECT FROM service_token s
    WHERE s.tenant_id = wanted_tenant AND s.id = wanted_token AND s.revoked_at IS NULL AND s.expires_at > now()
  ) THEN RETURN; END IF;
  RETURN QUERY
    SELECT t.id, t.slug::text, t.currency::text, t.time_zone::text, t.is_sandbox, t.clock_offset, t.settings
    FROM tenant t
    WHERE t.id = wanted_tenant AND t.status = 'active';
END $$;

-- Directory functions: the only way to find a tenant before one is bound. Each gives what the look-up key alone unlocks.
GRANT CREATE ON SCHEMA public TO demarc_directory;

CREATE FUNCTION find_login(wanted_email text)
RETURNS TABLE (tenant_id int, tenant_slug text, user_id bigint, password_hash text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT u.tenant_id, t.slug::text, u.id, u.password_hash, u.role::text
  FROM app_user u JOIN tenant t ON t.id = u.tenant_id
  WHERE u.email = lower(wanted_email) AND u.status = 'active' AND t.status = 'active'
$$;

CREATE FUNCTION find_refresh_token(wanted_hash bytea)
RETURNS TABLE (tenant_id int, token_id bigint, user_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT r.tenant_id, r.id, r.user_id FROM refresh_token r WHERE r.token_hash = wanted_hash
$$;

CREATE FUNCTION list_tenants()
RETURNS TABLE (id int, slug text, is_sandbox boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT t.id, t.slug::text, t.is_sandbox FROM tenant t WHERE t.status = 'active' ORDER BY t.id
$$;

ALTER FUNCTION find_login(text) OWNER TO demarc_directory;
ALTER FUNCTION find_refresh_token(bytea) OWNER TO demarc_directory;
ALTER FUNCTION list_tenants() OWNER TO demarc_directory;
REVOKE CREATE ON SCHEMA public FROM demarc_directory;
REVOKE ALL ON FUNCTION find_login(text), find_refresh_token(bytea), list_tenants() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_login(text), find_refresh_token(bytea), list_tenants() TO demarc_app;

-- The ledger sums to zero per transaction, checked when the transaction commits.
CREATE FUNCTION check_ledger_zero_sum() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT sum(e.amount_minor) FROM ledger_entry e
      WHERE e.tenant_id = NEW.tenant_id AND e.transaction_id = NEW.transaction_id) <> 0 THEN
    RAISE EXCEPTION 'ledger transaction % does not sum to zero', NEW.transaction_id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER ledger_entry_zero_sum AFTER INSERT ON ledger_entry
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_ledger_zero_sum();

-- Sessions that ended, by month. A month without a partition of its own lands in the default one.
CREATE TABLE radius_session_history_default PARTITION OF radius_session_history DEFAULT;

CREATE FUNCTION create_session_partitions(first_month date, months int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  month date;
  name text;
BEGIN
  FOR i IN 0 .. months - 1 LOOP
    month := (date_trunc('month', first_month) + make_interval(months => i))::date;
    name := 'radius_session_history_' || to_char(month, 'YYYYMM');
    CONTINUE WHEN to_regclass(name) IS NOT NULL;
    -- A month whose rows already went to the default partition stays there.
    CONTINUE WHEN EXISTS (SELECT FROM radius_session_history_default d
                          WHERE d.stopped_at >= month AND d.stopped_at < month + interval '1 month');
    EXECUTE format('CREATE TABLE %I PARTITION OF radius_session_history FOR VALUES FROM (%L) TO (%L)',
                   name, month::timestamptz, (month + interval '1 month')::timestamptz);
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION create_session_partitions(date, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_session_partitions(date, int) TO demarc_app;
SELECT create_session_partitions((now() - interval '1 month')::date, 6);

-- What FreeRADIUS asks for in few log-ins only: a function costs the others nothing, an expression in its query would.
CREATE FUNCTION aaa_session_limit(wanted_tenant int, wanted_username text, calling_id text, most int) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF most > 0 AND (SELECT count(*) FROM radius_session s
                   WHERE s.username = wanted_username AND s.tenant_id = wanted_tenant
                     AND (s.calling_station_id = '' OR s.calling_station_id <> calling_id)) >= most THEN
    RETURN 'session limit';
  END IF;
  RETURN NULL;
END $$;

-- `list:Attribute=value` each, parted by chr(31); FreeRADIUS takes a value's backslashes off three times.
CREATE FUNCTION aaa_extras(wanted_tenant int, wanted_subscriber bigint, wanted_nas bigint) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  login aaa_login;
  nas aaa_nas;
  speeds text;
BEGIN
  SELECT * INTO STRICT login FROM aaa_login l WHERE l.tenant_id = wanted_tenant AND l.subscriber_id = wanted_subscriber;
  SELECT * INTO STRICT nas FROM aaa_nas n WHERE n.tenant_id = wanted_tenant AND n.nas_id = wanted_nas;
  IF nas.speed_replies IS NOT NULL AND login.download_bps IS NOT NULL AND login.upload_bps IS NOT NULL THEN
    speeds := array_to_string(nas.speed_replies, chr(31) || 'reply:');
    speeds := replace(replace(speeds, '{download_bps}', login.download_bps::text), '{upload_bps}', login.upload_bps::text);
    speeds := replace(replace(speeds, '{download_kbps}', (login.download_bps / 1000)::text),
                      '{upload_kbps}', (login.upload_bps / 1000)::text);
  END IF;
  RETURN replace(concat_ws(chr(31),
    'reply:' || nullif(speeds, ''),
    'reply:' || nullif(array_to_string(login.replies, chr(31) || 'reply:'), ''),
    'reply:Framed-Pool=' || nullif(translate(login.framed_pool, chr(31), ''), ''),
    'control:Demarc-Expires=' || ceil(extract(epoch FROM login.expires_at - nas.clock_offset)),
    CASE WHEN strpos(login.clear_text, chr(31)) = 0 THEN 'control:Cleartext-Password=' || nullif(login.clear_text, '') END),
    chr(92), repeat(chr(92), 8));
END $$;
REVOKE ALL ON FUNCTION aaa_session_limit(int, text, text, int), aaa_extras(int, bigint, bigint) FROM PUBLIC;
-- The app role asks them for the dry run of a log-in, within its tenant.
GRANT EXECUTE ON FUNCTION aaa_session_limit(int, text, text, int), aaa_extras(int, bigint, bigint) TO demarc_aaa, demarc_app;

GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO demarc_app, demarc_ingest;

-- Membership was needed to hand over the functions only: its policies would show the owner every tenant.
DO $$
BEGIN
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    EXECUTE format('REVOKE demarc_directory FROM %I', current_user);
  END IF;
END $$;
