/**
 * What is done to a MySQL or MariaDB server, as shell programs for its host. Pure. They print lines `name TAB value`
 * and `rows TAB table TAB count`, and say on standard error what went wrong. No secret is in them: the client reads the
 * password from its defaults-extra-file.
 */
import { type Command, lines, raw, sh } from '../../../shell/index.ts'
import { type DatabaseAddress, fencedName, keptName, scratchName } from './engine.ts'

/** The view with what a move has taken off and not yet made again. */
const notes = 'slipway_moving'

const functions = `set -eu
umask 077
export LC_ALL=C
pick() { for p in "$@"; do command -v "$p" >/dev/null 2>&1 && { echo "$p"; return; }; done; echo "slipway: there is no $1" >&2; return 127; }
client=$(pick mariadb mysql) || exit
folder() { t=$(mktemp -d "\${TMPDIR:-/tmp}/slipway-db.XXXXXX"); made=; beside=; broken=; trap 'ended $?' EXIT; trap 'exit 1' HUP INT TERM PIPE; }
ended() {
  trap '' HUP INT TERM PIPE; trap - EXIT
  [ -z "$beside" ] || rm -rf -- "$beside"
  [ -z "$broken" ] || finish "$broken" || echo "slipway: triggers, views, routines or events are missing now; ${notes} in $broken has them, and the same again makes them" >&2
  [ -z "$made" ] || remove "$made" || echo "slipway: the unfinished database $made could not be dropped" >&2
  rm -rf -- "$t"
  exit "$1"
}
same() {
  sort "$1" >"$1.sorted"; sort "$2" >"$2.sorted"
  cmp -s "$1.sorted" "$2.sorted" || { echo "slipway: the rows differ (< $3, > $4)" >&2; diff "$1.sorted" "$2.sorted" >&2 || :; exit 65; }
}
name() { printf '\`'; printf %s "$1" | sed 's/\`/\`\`/g'; printf '\`'; }
# SQL for the column $1 as a quoted name: a backtick in double quotes would be the shell's.
ident() { q='CHAR(96 USING utf8mb4)'; printf 'CONCAT(%s, REPLACE(%s, %s, REPEAT(%s, 2)), %s)' "$q" "$1" "$q" "$q" "$q"; }
hex() { od -An -v -tx1 | tr -d ' \\n'; }
text() { printf "_utf8mb4 x'"; printf %s "$1" | hex; printf "'"; }
remove() { sql -e "DROP DATABASE IF EXISTS $(name "$1")"; }
same_kind() {
  sql -e "SELECT CONCAT(' CHARACTER SET ', default_character_set_name, ' COLLATE ', default_collation_name) FROM information_schema.schemata WHERE schema_name IN ($(text "$1"), $(text "$2")) ORDER BY schema_name = $(text "$1") DESC LIMIT 1"
}
tables() { sql -e "SELECT table_name FROM information_schema.tables WHERE table_schema = $(text "$1") AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') ORDER BY table_name"; }
count_rows() {
  {
    echo 'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT;'
    sql -e "SELECT CONCAT('SELECT ''rows'', ', QUOTE(table_name), ', COUNT(*) FROM ', $(ident table_name), ';') FROM information_schema.tables WHERE table_schema = $(text "$1") AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY table_name"
  } >"$t/count.sql"
  sql --database="$1" <"$t/count.sql"
}
consistent() {
  other=$(sql -e "SELECT CONCAT(table_name, ' (', engine, ')') FROM information_schema.tables WHERE table_schema = $(text "$1") AND table_type = 'BASE TABLE' AND engine NOT IN ('InnoDB', 'ROCKSDB', 'SEQUENCE') LIMIT 5" | paste -s -d , -)
  [ -z "$other" ] || { echo "slipway: no one moment of $other" >&2; exit 64; }
}
exists() { [ "$(sql -e "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = $(text "$1")")" = 1 ]; }
need() { exists "$1" || { echo "slipway: no database $1" >&2; exit 63; }; }
fill() { sql --binary-mode --database="$@"; }
`

/** The client's options: where the server is, and the file with the password. */
function options(at: DatabaseAddress): string[] {
  const path = at.host?.startsWith('/')
  return [
    // Has to be the first.
    ...(at.credentials === undefined ? [] : [`--defaults-extra-file=${at.credentials}`]),
    ...(at.host === undefined ? [] : path ? [`--socket=${at.host}`] : [`--host=${at.host}`, '--protocol=tcp']),
    ...(at.port === undefined || path ? [] : [`--port=${at.port}`]),
    ...(at.user === undefined ? [] : [`--user=${at.user}`]),
  ]
}

/** `sql` and `dumping` for one server. */
const connect = (at: DatabaseAddress): Command =>
  sh`sql() { "$client" ${options(at)} --connect-timeout=10 --default-character-set=utf8mb4 --batch --raw --skip-column-names "$@"; }
dumping() { "$dumper" ${options(at)} --default-character-set=utf8mb4 "$@"; }`

const program = (at: DatabaseAddress, ...body: (Command | string | false)[]): Command =>
  lines(functions, connect(at), ...body)

const dumper = 'dumper=$(pick mariadb-dump mysqldump) || exit'

/** A consistent dump of database $1. What only one of MySQL and MariaDB knows is asked of the program. */
const readAll = `read_all() {
  known=$("$dumper" --help 2>/dev/null)
  set -- "$1" --single-transaction --quick --routines --triggers --events --hex-blob --no-tablespaces --no-autocommit "--ignore-table=$1.${notes}"
  case $known in *set-gtid-purged*) set -- "$@" --set-gtid-purged=OFF;; esac
  case $known in *column-statistics*) set -- "$@" --column-statistics=0;; esac
  d=$1; shift
  dumping "$@" "$d"
}`

/**
 * Rows by table in a dump, read from its first line to its last, which says that it is whole. Line breaks in values are
 * written as \\n, so that a line is a row (MariaDB) or begins with INSERT (MySQL); text is taken out before counting.
 */
const counter = `function title(line) { match(line, /\`([^\`]|\`\`)+\`/); line = substr(line, RSTART + 1, RLENGTH - 2); gsub(/\`\`/, "\`", line); return line }
on && /^\\(/ { rows[table]++; if (/;$/) on = 0; next }
/^CREATE TABLE / { rows[title($0)] += 0; next }
/^INSERT INTO \`/ {
  table = title($0); on = !/;$/
  sub(/^INSERT INTO \`([^\`]|\`\`)+\`[^V]*VALUES/, "")
  if ($0 == "") next
  gsub(/\\\\./, ""); gsub(/'[^']*'/, "")
  rows[table] += gsub(/\\(/, "")
  next
}
/^-- Dump completed/ { whole = 1 }
END { for (name in rows) print "rows\\t" name "\\t" rows[name]; if (!whole) exit 66 }`

const countDump = sh`count_dump() { awk ${counter}; }
archived() {
{ { set +e; gzip -dc <"$1"; echo $? >"$t/read.status"; } | count_dump >"$2"; } && [ "$(cat "$t/read.status")" = 0 ] || { echo "slipway: $1 cannot be read to its end" >&2; exit 66; }
}`

const described = `printf 'bytes\\t%s\\n' "$(wc -c <"$f" | tr -d ' ')"
printf 'sha256\\t%s\\n' "$(sha256sum <"$f" | cut -d' ' -f1)"
cat "$t/found"`

/** Whether nobody can be in it: a name that only this tool gives. */
const isQuiet = (database: string): boolean => /_slipway_fenced$|_before_\d{14}(\d{3})?$/.test(database)

const moment = (at: DatabaseAddress) => !isQuiet(at.database) && sh`consistent ${at.database}`

const word = (text: string): string => {
  const hex = Buffer.from(text, 'utf8').toString('hex')
  return `_utf8mb4 x'${hex}'`
}

export const inspect = (at: DatabaseAddress): Command =>
  program(
    at,
    sh`sql -e ${`SELECT 'exists', COUNT(*) FROM information_schema.schemata WHERE schema_name = ${word(at.database)};
SELECT 'accepts', COUNT(*) FROM information_schema.schemata WHERE schema_name = ${word(at.database)};
SELECT 'bytes', COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables WHERE table_schema = ${word(at.database)};
SELECT 'tables', COUNT(*) FROM information_schema.tables WHERE table_schema = ${word(at.database)} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED');
SELECT 'server', CONCAT(@@hostname, ':', @@port, ':', @@datadir);
SELECT 'identity', ${word(at.database)};
SELECT 'version', VERSION();
SELECT 'create', (SELECT COUNT(*) FROM information_schema.user_privileges WHERE privilege_type = 'CREATE') + (SELECT COUNT(*) FROM information_schema.schema_privileges WHERE privilege_type = 'CREATE' AND ${word(scratchName(at.database, 'x'))} LIKE table_schema) > 0;
SELECT 'session', CONCAT(user, '@', host) FROM information_schema.processlist WHERE db = ${word(at.database)} AND id <> CONNECTION_ID();`}`,
  )

export const counts = (at: DatabaseAddress): Command =>
  program(at, sh`folder; need ${at.database}; count_rows ${at.database}`)

export const checksums = (at: DatabaseAddress): Command =>
  program(
    at,
    sh`need ${at.database}`,
    sh`list=$(sql -e ${`SELECT CONCAT('\`', REPLACE(table_name, '\`', '\`\`'), '\`') FROM information_schema.tables WHERE table_schema = ${word(at.database)} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')`} | paste -s -d , -)
[ -z "$list" ] || sql --database=${at.database} -e "CHECKSUM TABLE $list EXTENDED"`,
  )

/** Like the database that it will replace: its character set and collation. */
const create = (like: string, name: string): Command =>
  sh`kind=$(same_kind ${like} ${fencedName(like)})
sql -e "CREATE DATABASE $(name ${name})$kind"`

export const createEmpty = (at: DatabaseAddress, name: string): Command => program(at, create(at.database, name))

export const drop = (at: DatabaseAddress, name: string): Command => program(at, sh`remove ${name}`)

export const dump = (at: DatabaseAddress, file: string): Command =>
  program(
    at,
    dumper,
    'pick gzip >/dev/null || exit; folder',
    readAll,
    countDump,
    sh`need ${at.database}`,
    moment(at),
    sh`f=${file}; n="$f.new"; d=$(dirname -- "$f")
mkdir -p -- "$d"; rm -f -- "$n"; beside=$n
{ set +e; read_all ${at.database}; echo $? >"$t/status"; } | gzip -1 >"$n"
[ "$(cat "$t/status")" = 0 ] || exit 1`,
    `archived "$n" "$t/found"
sync -- "$n" 2>/dev/null || sync
mv -f -- "$n" "$f"; beside=
sync -- "$d" 2>/dev/null || :`,
    described,
  )

const given = (file: string): Command =>
  sh`f=${file}; [ -e "$f" ] || { echo "slipway: $f does not exist" >&2; exit 67; }`

export const verifyDump = (file: string): Command =>
  lines(functions.replace(/^client=.*\n/m, ''), 'folder', countDump, given(file), 'archived "$f" "$t/found"', described)

export const restoreInto = (at: DatabaseAddress, file: string, name: string): Command =>
  program(
    at,
    'folder',
    countDump,
    given(file),
    'archived "$f" "$t/expected"',
    create(at.database, name),
    sh`made=${name}
gzip -dc <"$f" | fill ${name}
count_rows ${name} >"$t/found"`,
    `same "$t/expected" "$t/found" 'in the dump' 'restored'`,
    'cat "$t/found"; made=',
  )

/** The dump on standard output, for another host; its rows on standard error at the end. */
export const send = (at: DatabaseAddress): Command =>
  program(
    at,
    dumper,
    'folder',
    readAll,
    countDump,
    sh`need ${at.database}`,
    moment(at),
    sh`mkfifo "$t/copy"
count_dump <"$t/copy" >"$t/found" & counting=$!
{ set +e; read_all ${at.database}; echo $? >"$t/status"; } | tee "$t/copy" | gzip -1
[ "$(cat "$t/status")" = 0 ] || exit 1
wait "$counting"
cat "$t/found" >&2`,
  )

/** A new database from what `send` printed, on standard input; prints its rows. */
export const receive = (at: DatabaseAddress, name: string): Command =>
  program(
    at,
    'folder',
    create(at.database, name),
    sh`made=${name}
{ set +e; gzip -dc; echo $? >"$t/status"; } | fill ${name}
[ "$(cat "$t/status")" = 0 ] || { echo 'slipway: what came cannot be read to its end' >&2; exit 66; }
count_rows ${name} >"$t/found"
cat "$t/found"; made=`,
  )

/** A copy of `from` as `name`, on one host; both servers are reached from it. */
export const copy = (from: DatabaseAddress, to: DatabaseAddress, name: string): Command =>
  program(
    to,
    dumper,
    'folder',
    readAll,
    countDump,
    // Looked at first, so that nothing is made where there is nothing to copy.
    sh`(
${connect(from)}
need ${from.database}`,
    moment(from),
    ')',
    create(to.database, name),
    sh`made=${name}
mkfifo "$t/copy"
count_dump <"$t/copy" >"$t/expected" & counting=$!
{ set +e; ( trap - EXIT; trap - HUP INT TERM PIPE
${connect(from)}
read_all ${from.database} ); echo $? >"$t/status"; } | tee "$t/copy" | fill ${name}
[ "$(cat "$t/status")" = 0 ] || exit 1
wait "$counting"
count_rows ${name} >"$t/found"`,
    `same "$t/expected" "$t/found" 'in the original' 'in the copy'`,
    'cat "$t/found"; made=',
  )

/**
 * Moves everything of databases to others: tables in one RENAME, which is all or nothing; triggers, which stand in its
 * way, are taken off before and put on again after, or back where it failed; views, routines and events follow. Before
 * anything is taken off, a view in the first database that it goes to says what: whoever is killed, it is there, on this
 * very server, and it doesn't count as a table. Whoever comes next begins with `resume`.
 */
const moving = `# Everything that is no table, of database $1, into files $t/$2.*
keep() {
  belongings "$1" >"$t/$2.all"
  # Dropped first, so that they are in their order again where some are still there.
  dumping --skip-lock-tables --no-data --no-create-info --skip-routines --skip-events --triggers --add-drop-trigger "$1" >"$t/$2.triggers"
  dumping --skip-lock-tables --no-data --no-create-info --routines --events --skip-triggers "$1" >"$t/$2.others"
  sql -e "SELECT table_name FROM information_schema.views WHERE table_schema = $(text "$1")" >"$t/$2.names"
  : >"$t/$2.views"
  [ ! -s "$t/$2.names" ] || { set -- "$1" "$2" --; while IFS= read -r v; do set -- "$@" "$v"; done <"$t/$2.names"
    d=$1; o=$2; shift 3; dumping --skip-lock-tables --no-data "$d" "$@" >"$t/$o.views"; }
}
# What is no table of database $1, a line each; no event that ends by itself.
belongings() {
  sql -e "SELECT CONCAT_WS(' ', 'trigger', trigger_name, event_object_table, action_timing, event_manipulation, action_order) FROM information_schema.triggers WHERE trigger_schema = $(text "$1")
    UNION ALL SELECT CONCAT('view ', table_name) FROM information_schema.views WHERE table_schema = $(text "$1")
    UNION ALL SELECT CONCAT_WS(' ', routine_type, routine_name) FROM information_schema.routines WHERE routine_schema = $(text "$1")
    UNION ALL SELECT CONCAT('event ', event_name) FROM information_schema.events WHERE event_schema = $(text "$1") AND interval_value IS NOT NULL AND ends IS NULL"
}
# whole I DATABASE [KIND]: whether all that pair I is to have is in the database.
whole() {
  belongings "$2" >"$t/found" || return 1
  grep "^\${3-.}" "$t/$1.all" | grep -vxFf "$t/found" >"$t/missing" || return 0
  sed 's/^/slipway: missing: /' "$t/missing" >&2
  return 1
}
# Statements that drop what is no table of database $1.
droppers() {
  sql -e "SELECT CONCAT('DROP VIEW IF EXISTS ', $(ident table_schema), '.', $(ident table_name), ';') FROM information_schema.views WHERE table_schema = $(text "$1")
    UNION ALL SELECT CONCAT('DROP ', routine_type, ' IF EXISTS ', $(ident routine_schema), '.', $(ident routine_name), ';') FROM information_schema.routines WHERE routine_schema = $(text "$1")
    UNION ALL SELECT CONCAT('DROP EVENT IF EXISTS ', $(ident event_schema), '.', $(ident event_name), ';') FROM information_schema.events WHERE event_schema = $(text "$1")"
}
trigger_droppers() {
  sql -e "SELECT CONCAT('DROP TRIGGER ', $(ident trigger_schema), '.', $(ident trigger_name), ';') FROM information_schema.triggers WHERE trigger_schema = $(text "$1") ORDER BY trigger_name"
}
# Whether we may make again what belongs to others.
definers() {
  theirs=$(sql -e "SELECT DISTINCT definer FROM (
      SELECT definer FROM information_schema.triggers WHERE trigger_schema = $(text "$1")
      UNION SELECT definer FROM information_schema.views WHERE table_schema = $(text "$1")
      UNION SELECT definer FROM information_schema.routines WHERE routine_schema = $(text "$1")
      UNION SELECT definer FROM information_schema.events WHERE event_schema = $(text "$1")) AS d
    WHERE definer <> CURRENT_USER() AND NOT EXISTS (SELECT 1 FROM information_schema.user_privileges
      WHERE privilege_type IN ('SUPER', 'SET USER', 'SET_USER_ID', 'SET_ANY_DEFINER'))" | paste -s -d , -)
  [ -z "$theirs" ] || { echo "slipway: something belongs to $theirs" >&2; exit 62; }
}
end_sessions() {
  sql -e "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = $(text "$1") AND id <> CONNECTION_ID()" >"$t/kill.sql"
  sql --force <"$t/kill.sql" 2>/dev/null || :
}
# Ends them, and waits until the server has let go of what they did.
settle() {
  end_sessions "$1"
  ids=$(tr -dc '0-9\\n' <"$t/kill.sql" | paste -s -d , -); n=0
  while [ -n "$ids" ] && [ "$(sql -e "SELECT COUNT(*) FROM information_schema.processlist WHERE id IN ($ids)")" != 0 ]; do
    n=$((n + 1)); [ "$n" -lt 100 ] || { echo "slipway: sessions in $1 do not end" >&2; return 1; }
    sleep 0.2
  done
}
# Statements that write down in the database what the files say, and fail where it is not there whole: MariaDB cuts
# literals of more than 64 KB in a UNION, if they are not cast, and says nothing.
noting() {
  printf 'CREATE SQL SECURITY INVOKER VIEW ${notes} AS'; union=; bytes=0
  while read -r i; do
    for part in from to all triggers others views; do
      printf "%s SELECT %s AS pair, '%s' AS part, CAST(x'" "$union" "$i" "$part"; hex <"$t/$i.$part"; printf "' AS BINARY) AS content\\n"
      union='UNION ALL'; bytes=$((bytes + $(wc -c <"$t/$i.$part")))
    done
  done <"$t/pairs"
  echo "; SET @whole = (SELECT 1 UNION ALL SELECT 2 FROM DUAL WHERE (SELECT SUM(LENGTH(content)) FROM ${notes}) <> $bytes);"
}
# The files again, from what is written down in database $1.
noted() {
  v="$(name "$1").${notes}"
  sql -e "SELECT DISTINCT pair FROM $v ORDER BY pair" >"$t/pairs" || return 1
  while read -r i; do
    for part in from to all triggers others views; do
      sql -e "SELECT content FROM $v WHERE pair = $i AND part = '$part'" >"$t/$i.$part" || return 1
    done
  done <"$t/pairs"
}
# move FROM TO [FROM TO]...
move() {
  i=0; : >"$t/pairs"; : >"$t/renames"; : >"$t/droptriggers"; home=$2
  while [ $# -gt 0 ]; do
    i=$((i + 1)); echo "$i" >>"$t/pairs"
    printf %s "$1" >"$t/$i.from"; printf %s "$2" >"$t/$i.to"
    need "$1"; definers "$1"; keep "$1" "$i"
    trigger_droppers "$1" >>"$t/droptriggers"
    tables "$1" | while IFS= read -r each; do echo "$(name "$1").$(name "$each") TO $(name "$2").$(name "$each")"; done >>"$t/renames"
    shift 2
  done
  while read -r i; do end_sessions "$(cat "$t/$i.from")"; done <"$t/pairs"
  { echo 'SET SESSION lock_wait_timeout = 15;'; noting; cat "$t/droptriggers"
    [ ! -s "$t/renames" ] || { echo 'RENAME TABLE'; paste -s -d , "$t/renames"; echo ';'; }; } >"$t/move.sql"
  broken=$home
  # A session that came in between holds its tables until it ends. Ours is in the database that it moves to: there it is
  # found when we are killed, and the server goes on with it.
  fill "$home" <"$t/move.sql" & moving=$!
  while kill -0 "$moving" 2>/dev/null; do sleep 0.2; while read -r i; do end_idle "$(cat "$t/$i.from")"; done <"$t/pairs"; done
  wait "$moving"
  follow "$home"
  broken=
}
# Made in its new place before it is dropped in the old one: killed in between, it is in both. In the pairs' order,
# since what one has left may be where the next one goes.
follow() {
  while read -r i; do
    to=$(cat "$t/$i.to")
    cat "$t/$i.others" "$t/$i.views" "$t/$i.triggers" | fill "$to" && whole "$i" "$to" || return 1
    droppers "$(cat "$t/$i.from")" | fill "$to" || return 1
  done <"$t/pairs"
  unnoted "$1"
}
# Only triggers are off before the tables move. A transaction of somebody else may be in the way of putting them on, too.
back() {
  while read -r i; do
    from=$(cat "$t/$i.from")
    whole "$i" "$from" trigger 2>/dev/null || {
      { echo 'SET SESSION lock_wait_timeout = 30;'; cat "$t/$i.triggers"; } | fill "$from" --force 2>/dev/null
      whole "$i" "$from" trigger || return 1
    }
  done <"$t/pairs"
  unnoted "$1"
}
unnoted() { fill "$1" -e "DROP VIEW IF EXISTS ${notes}"; }
# Ends a move to database $1 that was interrupted: where its tables have moved the rest follows, else the triggers go back.
finish() {
  settle "$1" || return 1
  left=$(sql -e "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = $(text "$1") AND table_name = '${notes}'") || return 1
  [ "$left" = 1 ] || return 0
  noted "$1" || return 1
  while read -r i; do settle "$(cat "$t/$i.to")" || return 1; done <"$t/pairs"
  moved=$(tables "$1") && stayed=$(tables "$(cat "$t/1.from")") || return 1
  if [ -n "$moved" ] || [ -z "$stayed" ]; then follow "$1"; else back "$1"; fi
}
# Sessions that sleep inside a transaction in database $1.
end_idle() {
  sql -e "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = $(text "$1") AND command = 'Sleep' AND id <> CONNECTION_ID()" >"$t/kill.sql"
  [ ! -s "$t/kill.sql" ] || sql --force <"$t/kill.sql" 2>/dev/null || :
}`

/** Where a move of this database, or of one that is put in its place, was interrupted. */
const interrupted = ({ database }: DatabaseAddress): string => {
  // With milliseconds, a long name is cut elsewhere.
  const kept = [0, 1].map((ms) => keptName(database, new Date(ms)).replace(/\d+$/, ''))
  return `FROM information_schema.tables WHERE table_name = '${notes}' AND table_type = 'VIEW' AND (table_schema IN (${word(database)}, ${word(fencedName(database))})${kept.map((start) => ` OR LEFT(table_schema, CHAR_LENGTH(${word(start)})) = ${word(start)}`).join('')})`
}

const resume = (at: DatabaseAddress): Command =>
  sh`sql -e ${`SELECT table_schema ${interrupted(at)}`} >"$t/interrupted"
while IFS= read -r each; do finish "$each"; done <"$t/interrupted"`

const makeFor = (from: string, name: string): Command =>
  sh`if exists ${name}; then
[ -z "$(tables ${name})" ] || { echo ${`slipway: ${name} is not empty`} >&2; exit 61; }
else
kind=$(same_kind ${from} ${from})
sql -e "CREATE DATABASE $(name ${name})$kind"
fi`

/** Where nothing has the name yet, or it is empty, `fresh` takes it, and nothing is kept. */
export const swap = (at: DatabaseAddress, fresh: string, kept: string): Command =>
  program(
    at,
    dumper,
    'folder',
    moving,
    resume(at),
    sh`need ${fresh}
if exists ${at.database} && [ -n "$(tables ${at.database})" ]; then`,
    makeFor(at.database, kept),
    sh`move ${at.database} ${kept} ${fresh} ${at.database}
else`,
    makeFor(fresh, at.database),
    sh`move ${fresh} ${at.database}
fi
remove ${fresh}`,
  )

const state = (at: DatabaseAddress): Command => sh`state=none
if exists ${fencedName(at.database)} && [ -n "$(tables ${fencedName(at.database)})" ]; then state=fenced
elif exists ${at.database}; then state=open; fi`

export const fence = (at: DatabaseAddress): Command =>
  program(
    at,
    dumper,
    'folder',
    moving,
    resume(at),
    state(at),
    '[ "$state" != fenced ] || exit 0',
    sh`need ${at.database}`,
    makeFor(at.database, fencedName(at.database)),
    sh`move ${at.database} ${fencedName(at.database)}`,
  )

export const unfence = (at: DatabaseAddress): Command =>
  program(
    at,
    dumper,
    'folder',
    moving,
    resume(at),
    state(at),
    sh`[ "$state" != open ] || { [ -n "$(belongings ${fencedName(at.database)})" ] || remove ${fencedName(at.database)}; exit 0; }
need ${fencedName(at.database)}`,
    makeFor(fencedName(at.database), at.database),
    sh`move ${fencedName(at.database)} ${at.database}
remove ${fencedName(at.database)}`,
  )

export const endSessions = (at: DatabaseAddress): Command =>
  program(at, 'folder', moving, sh`end_sessions ${at.database}`)

export const databases = (at: DatabaseAddress): Command => program(at, `sql -e 'SHOW DATABASES'`)

/**
 * Databases with tables, and those that are being made: renaming a database leaves an empty one. Whoever asks goes on
 * from what there is: a move that was interrupted is ended first.
 */
export const filled = (at: DatabaseAddress): Command =>
  program(
    at,
    moving,
    sh`list() { sql -e ${`SELECT COUNT(*) ${interrupted(at)}; SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE '%\\_slipway\\_new\\_%' OR schema_name IN (SELECT table_schema FROM information_schema.tables WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED'))`}; }
found=$(list)
case $found in 0*) ;; *) folder
${resume(at)}
found=$(list);; esac
printf '%s\n' "$found" | sed 1d`,
  )

export const migrations = (at: DatabaseAddress): Command =>
  program(
    at,
    sh`has() { [ "$(sql -e "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ${raw(word(at.database))} AND table_name = '$1'")" = 1 ]; }
if has django_migrations; then sql --database=${at.database} -e ${"SELECT 'django', JSON_OBJECT('app', app, 'name', name, 'applied', DATE_FORMAT(applied, '%Y-%m-%dT%H:%i:%s.%fZ')) FROM django_migrations ORDER BY id"}; fi
if has alembic_version; then sql --database=${at.database} -e ${"SELECT 'alembic', version_num FROM alembic_version ORDER BY version_num"}; fi`,
  )

/** SQL from standard input, in one transaction: MySQL commits it where it changes a table's definition. */
export const runSql = (at: DatabaseAddress): Command =>
  program(
    at,
    sh`need ${at.database}
{ echo 'START TRANSACTION;'; cat; echo; echo ';COMMIT;'; } | sql --binary-mode --database=${at.database}`,
  )

export const shell = (at: DatabaseAddress): Command =>
  sh`exec "$(command -v mariadb || command -v mysql)" ${options(at)} --default-character-set=utf8mb4 ${at.database}`
