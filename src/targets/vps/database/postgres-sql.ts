/**
 * The SQL that PostgreSQL is asked, for psql. Values come as psql variables (:'name'), never as text put together.
 * Needs PostgreSQL 12 or later.
 */

/** Tables of the app: not the system's, not temporary, not an extension's own. */
const ownTables = `
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

/** Prints `rows TAB schema.table TAB count` for each table. To be run in one transaction. */
const countRows = `
SELECT format('SELECT %L, %L, count(*) FROM ONLY %I.%I', 'rows', format('%I.%I', n.nspname, c.relname), n.nspname, c.relname) ${ownTables}
\\gexec
`

const session = `
SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET row_security = off;
`

export const counts = `${session}
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
${countRows}
COMMIT;
`

/**
 * Runs the shell text in $SLIPWAY_READ while a snapshot is held, whose name is in $SLIPWAY_SNAPSHOT, and counts the
 * rows of that same snapshot: what is read and what is counted are one.
 */
export const readSnapshot = `${session}
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot() AS snapshot \\gset
\\setenv SLIPWAY_SNAPSHOT :snapshot
\\! sh -c "$SLIPWAY_READ"
${countRows}
COMMIT;
`

/** Prints `sum TAB schema.table TAB number`: the sum of the hashes of all rows, so that their order plays no part. */
export const checksums = `${session}
SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'hex';
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT format('SELECT %L, %L, count(*) || %L || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM ONLY %I.%I t', 'sum', format('%I.%I', n.nspname, c.relname), '/', n.nspname, c.relname) ${ownTables}
\\gexec
COMMIT;
`

/** What is asked in the maintenance database about :'db'. */
export const inspect = `
SELECT 'exists', count(*)::int FROM pg_database WHERE datname = :'db';
SELECT 'accepts', datallowconn::int FROM pg_database WHERE datname = :'db';
SELECT 'bytes', pg_database_size(oid) FROM pg_database WHERE datname = :'db';
SELECT 'identity', oid FROM pg_database WHERE datname = :'db';
SELECT 'server', system_identifier FROM pg_control_system();
SELECT 'version', current_setting('server_version');
SELECT 'create', (rolsuper OR rolcreatedb)::int FROM pg_roles WHERE rolname = current_user;
SELECT 'session', coalesce(usename, '?') || coalesce('@' || host(client_addr), '') || ' ' || coalesce(nullif(application_name, ''), 'pid ' || pid)
  FROM pg_stat_activity WHERE datname = :'db' AND usesysid IS NOT NULL AND pid <> pg_backend_pid();
`

export const tableCount = `SELECT 'tables', count(*) FROM (SELECT 1 ${ownTables}) AS own;`

/** What may take long is not to be cut short by what the role has as its limits. */
const patiently = `
SET statement_timeout = 0; SET lock_timeout = 0;
`

/** Settings and rights of the database :'like' for :'name'; its content is not looked at. */
const adorn = `
SELECT format('ALTER DATABASE %I SET %I TO ', :'name', split_part(entry, '=', 1))
    || CASE WHEN split_part(entry, '=', 1) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries')
       THEN substr(entry, strpos(entry, '=') + 1) ELSE quote_literal(substr(entry, strpos(entry, '=') + 1)) END
  FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN unnest(s.setconfig) AS entry
  LEFT JOIN pg_settings known ON known.name = split_part(entry, '=', 1)
  WHERE d.datname = :'like' AND s.setrole = 0
    AND ((SELECT rolsuper FROM pg_roles WHERE rolname = current_user) OR coalesce(known.context, 'user') = 'user')
\\gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'name') FROM pg_database
  WHERE datname = :'like' AND datacl IS NOT NULL AND pg_has_role(datdba, 'MEMBER')
UNION ALL
SELECT format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, :'name',
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_database d CROSS JOIN aclexplode(d.datacl) a WHERE d.datname = :'like' AND pg_has_role(d.datdba, 'MEMBER')
\\gexec
`

/** Where the owner of :'like' may be kept, it is. */
const owner = `CASE WHEN pg_has_role(d.datdba, 'MEMBER') THEN format(' OWNER %I', pg_get_userbyid(d.datdba)) ELSE '' END`

/** Of :'like', or of :'otherwise' where there is no such database. */
const whichLike = `
SELECT coalesce((SELECT datname FROM pg_database WHERE datname = :'like'), :'otherwise') AS like \\gset
`

/** An empty database :'name' with the encoding, locale, owner, settings and rights of :'like', where that exists. */
export const createEmpty = `${patiently}${whichLike}
SELECT format('CREATE DATABASE %I TEMPLATE template0', :'name') || coalesce((
  SELECT format(' ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(d.encoding), d.datcollate, d.datctype)
      || CASE to_jsonb(d)->>'datlocprovider'
           WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale'))
           WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', to_jsonb(d)->>'datlocale')
           ELSE '' END
      || ${owner}
  FROM pg_database d WHERE d.datname = :'like'), '')
\\gexec
${adorn}
`

/** :'name' as a copy of the files of :'from', in which nobody is. Much faster than reading and writing rows. */
export const createCopy = `${patiently}${whichLike}
SELECT format('CREATE DATABASE %I TEMPLATE %I', :'name', :'from')
    || CASE WHEN current_setting('server_version_num')::int >= 150000 THEN ' STRATEGY FILE_COPY' ELSE '' END
    || coalesce((SELECT ${owner} FROM pg_database d WHERE d.datname = :'like'), '')
\\gexec
${adorn}
`

/**
 * Not WITH (FORCE), which fails for whoever is no superuser while the server's own autovacuum is in the database:
 * TerminateOtherDBBackends of PostgreSQL 15 asks for rights to end that one, too. A plain DROP ends it. Closed first, so
 * that who was sent away does not come back; one that could not be dropped stays closed. One whose DROP was cut short
 * (its connection limit is -2 then) can't be altered, and only be dropped.
 */
export const drop = `${patiently}
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', datname) FROM pg_database
  WHERE datname = :'name' AND datconnlimit <> -2
\\gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'name' AND usesysid IS NOT NULL \\g /dev/null
SELECT format('DROP DATABASE IF EXISTS %I', :'name')
\\gexec
`

/**
 * Waits until no renaming is under way: that of a client that was killed goes on in the server. Locks are by number, for
 * a database (here always `postgres`); this one is the tool's.
 */
const renamingKey = 7_365_017
export const settled = `${patiently}
SELECT pg_advisory_lock(${renamingKey}), pg_advisory_unlock(${renamingKey}) \\g /dev/null
`

/**
 * Renames databases, all of :'pairs' ([[from, to], …] as JSON) or none, and ends the sessions in them first. The whole
 * of it runs in the server: the client's death leaves it neither half done nor closed.
 */
export const rename = `
${patiently}
SELECT pg_advisory_lock(${renamingKey}) \\g /dev/null
SELECT set_config('slipway.pairs', :'pairs', false) \\g /dev/null
DO $do$
DECLARE
  pairs jsonb := current_setting('slipway.pairs')::jsonb;
  pair jsonb;
  inside int;
  holders text;
  problem text;
  state text;
  deadline timestamptz := clock_timestamp() + interval '15 seconds';
BEGIN
  -- Closed first, so that no session comes between ending those that are there and the renaming.
  FOR pair IN SELECT * FROM jsonb_array_elements(pairs) LOOP
    EXECUTE format('ALTER DATABASE %I ALLOW_CONNECTIONS false', pair->>0);
  END LOOP;
  COMMIT;
  BEGIN
    LOOP
      PERFORM pg_stat_clear_snapshot();
      PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname IN (SELECT p->>0 FROM jsonb_array_elements(pairs) p) AND usesysid IS NOT NULL;
      PERFORM pg_stat_clear_snapshot();
      SELECT count(*), string_agg(DISTINCT usename::text, ', ') INTO inside, holders FROM pg_stat_activity
        WHERE datname IN (SELECT p->>0 FROM jsonb_array_elements(pairs) p) AND usesysid IS NOT NULL;
      EXIT WHEN inside = 0;
      IF clock_timestamp() > deadline THEN
        RAISE EXCEPTION 'sessions that do not end: % (of %)', inside, holders USING ERRCODE = 'object_in_use';
      END IF;
      PERFORM pg_sleep(0.02);
    END LOOP;
    FOR pair IN SELECT * FROM jsonb_array_elements(pairs) LOOP
      EXECUTE format('ALTER DATABASE %I RENAME TO %I', pair->>0, pair->>1);
    END LOOP;
    FOR pair IN SELECT * FROM jsonb_array_elements(pairs) LOOP
      EXECUTE format('ALTER DATABASE %I ALLOW_CONNECTIONS true', pair->>1);
    END LOOP;
  EXCEPTION WHEN OTHERS OR QUERY_CANCELED THEN
    GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, state = RETURNED_SQLSTATE;
  END;
  IF problem IS NOT NULL THEN
    FOR pair IN SELECT * FROM jsonb_array_elements(pairs) LOOP
      EXECUTE format('ALTER DATABASE %I ALLOW_CONNECTIONS true', pair->>0);
    END LOOP;
    COMMIT;
    RAISE EXCEPTION '%', problem USING ERRCODE = state;
  END IF;
END
$do$;
`

/** Ends the sessions in :'db' and waits until they are gone. */
export const endSessions = `
SELECT set_config('slipway.db', :'db', false) \\g /dev/null
DO $do$
DECLARE
  deadline timestamptz := clock_timestamp() + interval '15 seconds';
BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_setting('slipway.db') AND usesysid IS NOT NULL AND pid <> pg_backend_pid();
  LOOP
    PERFORM pg_stat_clear_snapshot();
    EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_setting('slipway.db')
      AND usesysid IS NOT NULL AND pid <> pg_backend_pid() AND backend_start < deadline - interval '15 seconds');
    IF clock_timestamp() > deadline THEN RAISE EXCEPTION 'sessions that do not end' USING ERRCODE = 'object_in_use'; END IF;
    PERFORM pg_sleep(0.02);
  END LOOP;
END
$do$;
`

/** `django JSON` and `alembic JSON`, where such tables are in the search path. */
export const migrations = `
SELECT to_regclass('django_migrations') IS NOT NULL AS django, to_regclass('alembic_version') IS NOT NULL AS alembic \\gset
\\if :django
SELECT 'django', coalesce(json_agg(json_build_object('app', app, 'name', name, 'applied', applied) ORDER BY id), '[]') FROM django_migrations;
\\endif
\\if :alembic
SELECT 'alembic', coalesce(json_agg(version_num ORDER BY version_num), '[]') FROM alembic_version;
\\endif
`
