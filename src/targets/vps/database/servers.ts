/**
 * PostgreSQL and MySQL on a host, as commands. Passwords come from ~/.pgpass, ~/.my.cnf or the socket's peer check on
 * the host, or from a URL that is a secret; never from an argument.
 */
import { resolveText } from '../../../config/secrets.ts'
import type { DatabaseConfig } from '../../../config/types.ts'
import { type Command, raw, Secret, sh } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import type { Engine } from './engines.ts'

type ServerConfig = Extract<DatabaseConfig, { kind: 'postgres' | 'mysql' }>

interface Login {
  database: string
  host?: string
  port?: string
  user?: string
  password?: Secret
}

async function login(context: VpsContext, name: string, config: ServerConfig): Promise<Login> {
  const resolved = await resolveText(context.config, config.database, `[app.databases] ${name}`)
  const plain = {
    host: config.host,
    port: config.port === undefined ? undefined : String(config.port),
    user: config.user,
  }
  if (typeof resolved === 'string' && !resolved.includes('://')) return { ...plain, database: resolved }
  const url = new URL(typeof resolved === 'string' ? resolved : resolved.reveal())
  return {
    database: decodeURIComponent(url.pathname.slice(1)),
    host: url.hostname || plain.host,
    port: url.port || plain.port,
    user: url.username ? decodeURIComponent(url.username) : plain.user,
    password: url.password ? new Secret(decodeURIComponent(url.password), `${name} password`) : undefined,
  }
}

export async function serverEngine(context: VpsContext, name: string, config: ServerConfig): Promise<Engine> {
  const to = await login(context, name, config)
  return config.kind === 'postgres' ? postgres(name, to, config.role) : mysql(name, to, config.role)
}

const report = (file: string): Command =>
  sh`sum=$(sha256sum <${file}); printf '{"bytes":%s,"counts":{%s},"sha256":"%s"}\n' "$(wc -c <${file})" "$counts" "\${sum%% *}"`

function postgres(name: string, to: Login, role: 'data' | 'queue'): Engine {
  const environment = sh`PGCONNECT_TIMEOUT=10; export PGCONNECT_TIMEOUT
${to.password ? sh`PGPASSWORD=${to.password}; export PGPASSWORD` : sh`:`}`
  const where = [
    ...(to.host ? ['-h', to.host] : []),
    ...(to.port ? ['-p', to.port] : []),
    ...(to.user ? ['-U', to.user] : []),
  ]
  const psql = (database: string) => sh`psql -XqAt -v ON_ERROR_STOP=1 ${where} -d ${database}`
  const list = `SELECT format('SELECT ''%s.%s'' || chr(9) || count(*) FROM %I.%I', schemaname, tablename, schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog','information_schema') ORDER BY 1`
  /** Sets `counts`: rows of every table, as JSON members. */
  const counted = (database: string) =>
    sh`counts=$(${psql(database)} -c ${list} | ${psql(database)} -f - | awk -F '\t' '{ printf "%s\\"%s\\":%s", s, $1, $2; s = "," }')`
  const scratch = `${to.database}_slipway_check`
  const restoreInto = (database: string, file: string) =>
    sh`pg_restore --exit-on-error --single-transaction --no-owner --no-privileges ${where} -d ${database} ${file}`
  return {
    kind: 'postgres',
    role,
    fileName: `${name}.dump`,
    dump: (file) => sh`${environment}
pg_dump -Fc ${where} -d ${to.database} -f ${file}.new
pg_restore -f /dev/null ${file}.new
${counted(to.database)}
mv ${file}.new ${file}
${report(file)}`,
    verify: (file) => sh`${environment}
dropdb --if-exists ${where} ${scratch}
createdb ${where} ${scratch}
trap 'dropdb --if-exists ${where} ${scratch}' EXIT
${restoreInto(scratch, file)}
${counted(scratch)}
${report(file)}`,
    put: (file, kept) => {
      const fresh = `${to.database}_slipway_new`
      const old = `${to.database}_${
        kept
          .split('/')
          .pop()
          ?.replace(/[^a-z0-9]+/gi, '_') ?? 'before'
      }`.slice(0, 63)
      const swap = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'db' AND pid <> pg_backend_pid();
ALTER DATABASE :"db" RENAME TO :"old";
ALTER DATABASE :"fresh" RENAME TO :"db";`
      return sh`${environment}
dropdb --if-exists ${where} ${fresh}
createdb ${where} ${fresh}
${restoreInto(fresh, file)}
${counted(fresh)}
printf '%s\n' ${swap} | ${psql('postgres')} -v ${`db=${to.database}`} -v ${`old=${old}`} -v ${`fresh=${fresh}`} -f - >/dev/null
${report(file)}`
    },
    size: () => sh`${environment}
printf '{"%s":%s}\n' ${to.database} "$(${psql(to.database)} -c 'SELECT pg_database_size(current_database())')"`,
  }
}

function mysql(name: string, to: Login, role: 'data' | 'queue'): Engine {
  const environment = to.password ? sh`MYSQL_PWD=${to.password}; export MYSQL_PWD` : sh`:`
  const where = [
    ...(to.host ? ['-h', to.host] : []),
    ...(to.port ? ['-P', to.port] : []),
    ...(to.user ? ['-u', to.user] : []),
  ]
  const client = sh`mysql ${where} -N -B`
  const list = (database: string) =>
    `SELECT CONCAT('SELECT ''', table_name, ''', COUNT(*) FROM \`', table_schema, '\`.\`', table_name, '\`;') FROM information_schema.tables WHERE table_schema = '${database}' AND table_type = 'BASE TABLE' ORDER BY table_name`
  const counted = (database: string) =>
    sh`counts=$(${client} -e ${list(database)} | ${client} ${database} | awk -F '\t' '{ printf "%s\\"%s\\":%s", s, $1, $2; s = "," }')`
  const scratch = `${to.database}_slipway_check`
  const recreate = (database: string) =>
    sh`${client} -e ${`DROP DATABASE IF EXISTS \`${database}\`; CREATE DATABASE \`${database}\``}`
  return {
    kind: 'mysql',
    role,
    fileName: `${name}.sql.gz`,
    dump: (file) => sh`${environment}
set -o pipefail 2>/dev/null || :
mysqldump ${where} --single-transaction --routines --triggers --events --hex-blob ${to.database} >${file}.sql
tail -n 1 ${file}.sql | grep -q '^-- Dump completed' || { echo 'the dump is cut off' >&2; exit 1; }
${counted(to.database)}
gzip -c ${file}.sql >${file}.new
rm -f ${file}.sql
mv ${file}.new ${file}
${report(file)}`,
    verify: (file) => sh`${environment}
${recreate(scratch)}
trap '${client} -e ${raw(`"DROP DATABASE IF EXISTS ${scratch}"`)}' EXIT
gzip -t ${file}
gzip -dc ${file} | ${client} ${scratch}
${counted(scratch)}
${report(file)}`,
    put: (file, kept) => sh`${environment}
gzip -t ${file}
mysqldump ${where} --single-transaction --routines --triggers --events --hex-blob ${to.database} >${kept}.sql
${recreate(to.database)}
gzip -dc ${file} | ${client} ${to.database}
${counted(to.database)}
${report(file)}`,
    size: () => sh`${environment}
printf '{"%s":%s}\n' ${to.database} "$(${client} -e ${`SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables WHERE table_schema = '${to.database}'`})"`,
  }
}
