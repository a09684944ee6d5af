/**
 * What is done to a PostgreSQL server, as shell programs for its host. Pure. They print lines `name TAB value` and
 * `rows TAB table TAB count`, and say on standard error what went wrong. No secret is in them: libpq reads the password
 * from PGPASSFILE.
 */
import { type Command, lines, type Raw, raw, sh } from '../../../shell/index.ts'
import { type DatabaseAddress, fencedName } from './engine.ts'
import * as sql from './postgres-sql.ts'

/** Jobs of pg_restore: more than a host's processors help nobody. */
const jobs = raw('"$(n=$(nproc 2>/dev/null || echo 1); [ "$n" -lt 4 ] || n=4; echo "$n")"')

/** libpq's own quoting, so that no name is read as a connection string. */
const conninfo = (database: string): string => `dbname='${database.replace(/[\\']/g, (char) => `\\${char}`)}'`

/** libpq's variables. Those that `instead` has and `at` has not are taken away. */
function environment(at: DatabaseAddress, instead?: DatabaseAddress): Command {
  const without = (key: 'host' | 'port' | 'user' | 'credentials', name: string) =>
    instead?.[key] !== undefined && at[key] === undefined && `unset ${name}`
  return lines(
    without('host', 'PGHOST'),
    without('port', 'PGPORT'),
    without('user', 'PGUSER'),
    without('credentials', 'PGPASSFILE'),
    sh`export LC_ALL=C PGCONNECT_TIMEOUT=10 PGAPPNAME=slipway PGDATABASE=${at.database}`,
    at.host !== undefined && sh`export PGHOST=${at.host}`,
    at.port !== undefined && sh`export PGPORT=${at.port}`,
    at.user !== undefined && sh`export PGUSER=${at.user}`,
    at.credentials !== undefined && sh`export PGPASSFILE=${at.credentials}`,
  )
}

const functions = `set -eu
umask 077
need() { for p in "$@"; do command -v "$p" >/dev/null 2>&1 || { echo "slipway: there is no $p" >&2; exit 127; }; done; }
sql() { PGCLIENTENCODING=UTF8 psql -X -w -q -A -t -F '\t' -v ON_ERROR_STOP=1 -v VERBOSITY=verbose "$@"; }
admin() { PGDATABASE=postgres sql "$@"; }
folder() { t=$(mktemp -d "\${TMPDIR:-/tmp}/slipway-db.XXXXXX"); made=; beside=; trap 'ended $?' EXIT; trap 'exit 1' HUP INT TERM PIPE; }
ended() {
  trap '' HUP INT TERM PIPE; trap - EXIT
  [ -z "$beside" ] || rm -rf -- "$beside"
  [ -z "$made" ] || remove "$made" || echo "slipway: the unfinished database $made could not be dropped" >&2
  rm -rf -- "$t"
  exit "$1"
}
same() {
  LC_ALL=C sort "$1" >"$1.sorted"; LC_ALL=C sort "$2" >"$2.sorted"
  cmp -s "$1.sorted" "$2.sorted" || { echo "slipway: the rows differ (< $3, > $4)" >&2; diff "$1.sorted" "$2.sorted" >&2 || :; exit 65; }
}`

const heredoc = (text: string): Raw => raw(` <<'SLIPWAY_SQL'\n${text.trim()}\nSLIPWAY_SQL`)

const program = (at: DatabaseAddress, ...body: (Command | string | false)[]): Command =>
  lines(functions, environment(at), removal, ...body)

const removal = sh`remove() {
admin -v name="$1"${heredoc(sql.drop)}
}`

/** Rows by table in an archive, read from its first byte to its last. Only COPY blocks are in data-only output. */
const countArchive = `c { if ($0 == "\\\\.") { print "rows\\t" name "\\t" n; c = 0 } else n++; next }
/^COPY / && match($0, /^COPY ("([^"]|"")+"|[^ ."]+)\\.("([^"]|"")+"|[^ ."]+)/) { name = substr($0, 6, RLENGTH - 5); c = 1; n = 0 }`

/** `archived FILE RESULT`: pg_restore -l accepts a file that was cut short; reading it whole does not. */
const archived = sh`archived() {
{ { set +e; pg_restore --data-only -f - "$1"; echo $? >"$t/read.status"; } | LC_ALL=C awk ${countArchive} >"$2"; }
[ "$(cat "$t/read.status")" = 0 ] || { echo "slipway: $1 cannot be read to its end" >&2; exit 66; }
}`

const counted = (into: string) => sh`sql >${raw(into)}${heredoc(sql.counts)}`

/**
 * Runs `read` (shell text that writes an archive to descriptor 3) in a snapshot; the snapshot's rows go to
 * `$t/expected`.
 */
const snapshot = (read: string): Command => sh`export SLIPWAY_READ=${`{ ${read}; } </dev/null && echo yes >&5`}
: >"$t/whole"
sql 3>&1 5>"$t/whole" >"$t/expected"${heredoc(sql.readSnapshot)}
[ -s "$t/whole" ] || { echo 'slipway: pg_dump failed' >&2; exit 1; }`

export const inspect = (at: DatabaseAddress): Command =>
  program(
    at,
    'need psql',
    sh`admin -v db=${at.database}${heredoc(sql.inspect)}`,
    // The tables can be counted in the database alone, which may not be there, or not let anyone in.
    sh`{ sql 2>/dev/null${heredoc(sql.tableCount)}
} || :`,
  )

export const counts = (at: DatabaseAddress): Command => program(at, 'need psql', sh`sql${heredoc(sql.counts)}`)

export const checksums = (at: DatabaseAddress): Command => program(at, 'need psql', sh`sql${heredoc(sql.checksums)}`)

const create = (like: string, name: string): Command =>
  sh`admin -v name=${name} -v like=${like} -v otherwise=${fencedName(like)}${heredoc(sql.createEmpty)}`

export const createEmpty = (at: DatabaseAddress, name: string): Command =>
  program(at, 'need psql', create(at.database, name))

export const drop = (at: DatabaseAddress, name: string): Command => program(at, 'need psql', sh`remove ${name}`)

export const dump = (at: DatabaseAddress, file: string): Command =>
  program(
    at,
    'need psql pg_dump pg_restore',
    'folder',
    archived,
    sh`f=${file}; n="$f.new"; d=$(dirname -- "$f")
mkdir -p -- "$d"; rm -f -- "$n"; beside=$n`,
    sh`{\n${snapshot('pg_dump -w --format=custom -Z 1 --snapshot="$SLIPWAY_SNAPSHOT" >&3')}\n} >"$n"`,
    `archived "$n" "$t/found"
same "$t/expected" "$t/found" 'in the database' 'in the dump'
sync -- "$n" 2>/dev/null || sync
mv -f -- "$n" "$f"; beside=
sync -- "$d" 2>/dev/null || :`,
    described,
  )

const described = `printf 'bytes\\t%s\\n' "$(wc -c <"$f" | tr -d ' ')"
printf 'sha256\\t%s\\n' "$(sha256sum <"$f" | cut -d' ' -f1)"
cat "$t/found"`

export const verifyDump = (file: string): Command =>
  lines(
    functions,
    'need pg_restore; folder',
    archived,
    sh`f=${file}; [ -e "$f" ] || { echo "slipway: $f does not exist" >&2; exit 67; }
archived "$f" "$t/found"`,
    described,
  )

/** Owners are kept by those who may give things away; for all others everything is theirs. */
const restoring = (name: string): Command => sh`set -- --exit-on-error -w -d ${conninfo(name)}
[ "$(admin -c 'SELECT rolsuper FROM pg_roles WHERE rolname = current_user')" = t ] || set -- "$@" --no-owner`

/** Statistics are not in a dump, and without them the first hours are slow. */
const analyze = 'sql -c ANALYZE 2>/dev/null || :'

const inside = (name: string) => sh`export PGDATABASE=${name}`

export const restoreInto = (at: DatabaseAddress, file: string, name: string): Command =>
  program(
    at,
    'need psql pg_restore; folder',
    archived,
    sh`f=${file}; [ -e "$f" ] || { echo "slipway: $f does not exist" >&2; exit 67; }`,
    'archived "$f" "$t/expected"',
    create(at.database, name),
    sh`made=${name}`,
    restoring(name),
    sh`pg_restore "$@" -j ${jobs} "$f"`,
    inside(name),
    counted('"$t/found"'),
    `same "$t/expected" "$t/found" 'in the dump' 'restored'`,
    analyze,
    'cat "$t/found"; made=',
  )

/** The archive of a snapshot on standard output, for another host; the snapshot's rows on standard error at the end. */
export const send = (at: DatabaseAddress): Command =>
  program(
    at,
    'need psql pg_dump; folder',
    snapshot('pg_dump -w --format=custom -Z 1 --snapshot="$SLIPWAY_SNAPSHOT" >&3'),
    'cat "$t/expected" >&2',
  )

/** A new database from the archive on standard input; prints its rows. */
export const receive = (at: DatabaseAddress, name: string): Command =>
  program(
    at,
    'need psql pg_restore; folder',
    create(at.database, name),
    sh`made=${name}`,
    restoring(name),
    'pg_restore "$@"',
    inside(name),
    counted('"$t/found"'),
    analyze,
    'cat "$t/found"; made=',
  )

/** Whether nobody can be in `from`: it has a name that only this tool gives, and both are on one server. */
function quiet(from: DatabaseAddress, to: DatabaseAddress): boolean {
  return (
    /_slipway_fenced$|_before_\d{14}(\d{3})?$|_slipway_new_[a-z0-9]+$/.test(from.database) &&
    from.host === to.host &&
    from.port === to.port &&
    from.user === to.user
  )
}

/** A copy of `from` as `name`, on one host; both servers are reached from it. */
export const copy = (from: DatabaseAddress, to: DatabaseAddress, name: string): Command =>
  quiet(from, to)
    ? program(
        to,
        'need psql; folder',
        sh`admin -v name=${name} -v from=${from.database} -v like=${to.database} -v otherwise=${from.database}${heredoc(sql.createCopy)}`,
        sh`made=${name}`,
        inside(from.database),
        counted('"$t/expected"'),
        inside(name),
        counted('"$t/found"'),
        `same "$t/expected" "$t/found" 'in the original' 'in the copy'`,
        'cat "$t/found"; made=',
      )
    : program(
        to,
        'need psql pg_dump pg_restore; folder',
        create(to.database, name),
        sh`made=${name}`,
        restoring(name),
        // The copy goes through a pipe: reading and writing at the same time, and nothing on a disk twice.
        sh`{
set +e
(
set -e
trap - EXIT; trap - HUP INT TERM PIPE
${environment(from, to)}
${snapshot('pg_dump -w --format=custom -Z 0 --snapshot="$SLIPWAY_SNAPSHOT" >&3')}
)
echo $? >"$t/sent"
} | { set +e; pg_restore "$@"; echo $? >"$t/received"; }
[ "$(cat "$t/sent")" = 0 ] && [ "$(cat "$t/received")" = 0 ] || exit 1`,
        inside(name),
        counted('"$t/found"'),
        `same "$t/expected" "$t/found" 'in the original' 'in the copy'`,
        analyze,
        'cat "$t/found"; made=',
      )

const renaming = (pairs: readonly (readonly [string, string])[]): Command =>
  sh`admin -v pairs=${JSON.stringify(pairs)}${heredoc(sql.rename)}`

const state = (at: DatabaseAddress) =>
  sh`state=$(admin -v db=${at.database} -v fenced=${fencedName(at.database)}${heredoc(
    `SELECT CASE WHEN bool_or(datname = :'db') THEN 'open' WHEN count(*) > 0 THEN 'fenced' ELSE 'none' END FROM pg_database WHERE datname IN (:'db', :'fenced')`,
  )}
)`

/** Where nothing has the name yet, `fresh` takes it, and nothing is kept. */
export const swap = (at: DatabaseAddress, fresh: string, kept: string): Command =>
  program(
    at,
    'need psql',
    state(at),
    'if [ "$state" = open ]; then',
    renaming([
      [at.database, kept],
      [fresh, at.database],
    ]),
    'else',
    renaming([[fresh, at.database]]),
    'fi',
  )

const isOpen = "SELECT datallowconn FROM pg_database WHERE datname = :'db'"

export const fence = (at: DatabaseAddress): Command =>
  program(
    at,
    'need psql',
    state(at),
    '[ "$state" != fenced ] || exit 0',
    renaming([[at.database, fencedName(at.database)]]),
  )

export const unfence = (at: DatabaseAddress): Command =>
  program(
    at,
    'need psql',
    sh`admin${heredoc(sql.settled)}`,
    state(at),
    // Open, but closed to all: what a server that crashed in the middle of a renaming can leave.
    sh`if [ "$state" = open ]; then
open=$(admin -v db=${at.database}${heredoc(isOpen)}
)
if [ "$open" != t ]; then admin -v db=${at.database}${heredoc(`ALTER DATABASE :"db" ALLOW_CONNECTIONS true;`)}
fi
exit 0
fi`,
    renaming([[fencedName(at.database), at.database]]),
  )

export const endSessions = (at: DatabaseAddress): Command =>
  program(at, 'need psql', sh`admin -v db=${at.database}${heredoc(sql.endSessions)}`)

export const databases = (at: DatabaseAddress): Command =>
  program(at, 'need psql', `admin -c "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname"`)

export const migrations = (at: DatabaseAddress): Command => program(at, 'need psql', sh`sql${heredoc(sql.migrations)}`)

/** SQL from standard input: all of it or nothing. */
export const runSql = (at: DatabaseAddress): Command => program(at, 'need psql', 'sql --single-transaction -f -')

export const shell = (at: DatabaseAddress): Command => lines(environment(at), 'unset LC_ALL; exec psql -w')
