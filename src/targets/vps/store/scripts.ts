/**
 * The store's operations as shell text, one round trip each, for any POSIX shell. A lock is a file that is written
 * whole and linked into place, so that it is never seen half; releasing and breaking happen under a mutex which the
 * kernel lets go when its process dies. Pure.
 */
import { quote } from '../../../shell/index.ts'

/** Exit status: the lock is no longer this run's. */
export const lockLost = 75
/** Exit status: somebody else has written into the journal since it was read. */
export const journalMoved = 76

/** Space that a journal is given at its beginning, so that a full disk can't keep it from saying what happened. */
const journalBytes = 128 * 1024

/** Space that is kept beside the locks: on a full disk a lock takes of it, so that what makes room there can begin. */
const reserveBytes = 64 * 1024

const ended = `'^[0-9a-f]{8} \\{"at":"[^"]*","entry":"end",'`

/** The folder of `app` on a host, for use inside double quotes. */
export function storeFolder(app: string): string {
  return `$HOME/.slipway/${app}`
}

function within(app: string, ...text: string[]): string {
  return [
    'LC_ALL=C; export LC_ALL; umask 077',
    `mkdir -p "${storeFolder(app)}/locks" "${storeFolder(app)}/journals" && cd "${storeFolder(app)}" || exit 1`,
    ...text,
  ].join('\n')
}

const clock = [
  'boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) || boot=none',
  'read -r up rest 2>/dev/null </proc/uptime || up=0',
]

const mutex = [
  'exec 9>locks/.mutex',
  'if command -v flock >/dev/null 2>&1; then flock -w 20 9 || { echo "the locks are busy" >&2; exit 1; }; fi',
]

const reserve = [
  'less() { truncate -s -8192 locks/.reserve 2>/dev/null || rm -f locks/.reserve; }',
  'more() {',
  `  [ "$(wc -c <locks/.reserve || echo 0)" -lt ${reserveBytes} ] || return 0`,
  `  head -c ${reserveBytes} /dev/urandom >locks/.more && mv -f locks/.more locks/.reserve || rm -f locks/.more`,
  '}',
]

/** Prints the first unfinished journal that locks one of $scopes, other than $mine, as `journal <id>` and its first line. */
const unfinished = [
  'blocking() {',
  `  for j in $(grep -LE ${ended} journals/*.journal 2>/dev/null); do`,
  '    [ "$j" = "journals/$mine.journal" ] && continue',
  '    begin=$(tr -d "\\0" <"$j" | head -n 1)',
  '    case $begin in *"}") ;; *) continue ;; esac',
  '    locks=$(printf "%s\\n" "$begin" | sed -n \'s/^[^{]*{[^{]*"locks":\\[\\([^]]*\\)\\].*/\\1/p\')',
  '    for s in $scopes; do',
  '      case ",$locks," in *",\\"$s\\","*) printf "journal %s\\n%s\\n" "$s" "$begin"; return 0 ;; esac',
  '    done',
  '  done',
  '  return 1',
  '}',
]

export interface LockText {
  run: string
  scopes: readonly string[]
  /** The members of the lock's JSON by scope, without its braces; boot and uptime are added there. */
  members: Readonly<Record<string, string>>
  /** The journal being resumed. */
  journal?: string
  /** A run whose locks are replaced. */
  replace?: string
}

/**
 * Takes every lock or none. Prints `clock <boot> <uptime>`, and then `taken <scopes that were new>`, or
 * `locked <scope>` with the holder's file, or `journal <scope>` with the first line of the unfinished journal.
 */
export function lockScript(app: string, lock: LockText): string {
  const write = lock.scopes.map(
    (scope) =>
      `${quote(scope)}) printf '{%s,"boot":"%s","uptime":%s}\\n' ${quote(lock.members[scope] ?? '')} "$boot" "$up" ;;`,
  )
  return within(
    app,
    ...clock,
    ...mutex,
    `scopes=${quote(lock.scopes.join(' '))} run=${quote(lock.run)} mine=${quote(lock.journal ?? '')} replace=${quote(lock.replace ?? '')}`,
    'echo "clock $boot $up"',
    'taken= new="locks/.new.$$"',
    'back() { for t in $taken; do rm -f "locks/$t.lock"; done; rm -f "$new"; }',
    `content() { case $1 in ${write.join(' ')} esac; }`,
    ...reserve,
    'put() { rm -f "$new"; content "$1" 2>/dev/null >"$new" && [ -s "$new" ]; }',
    ...unfinished,
    'for s in $scopes; do',
    '  put "$s" || { less; put "$s"; } || { why=$(dd if=/dev/zero of="$new" bs=4096 count=1 2>&1 | grep "$new"); back; echo "the lock could not be written: $why" >&2; exit 1; }',
    '  tries=0',
    '  until ln "$new" "locks/$s.lock" 2>/dev/null; do',
    '    held=$(cat "locks/$s.lock" 2>/dev/null)',
    '    case $held in',
    '      *"\\"run\\":\\"$run\\""*) rm -f "$new"; continue 2 ;;',
    '      "") tries=$((tries + 1)); [ $tries -lt 50 ] && continue; back; echo "the lock $s could not be linked" >&2; exit 1 ;;',
    '    esac',
    '    if [ -n "$replace" ]; then',
    '      case $held in *"\\"run\\":\\"$replace\\""*) printf "replaced %s\\n" "$held"; rm -f "locks/$s.lock"; continue ;; esac',
    '    fi',
    '    back; printf "locked %s\\n%s\\n" "$s" "$held"; exit 0',
    '  done',
    '  taken="$taken $s"; rm -f "$new"',
    'done',
    'if blocked=$(blocking); then back; printf "%s\\n" "$blocked"; exit 0; fi',
    'rm -f "$new"; echo "taken$taken"; more 2>/dev/null',
  )
}

/** Removes those locks that are this run's. */
export function releaseScript(app: string, run: string, scopes: readonly string[]): string {
  return within(
    app,
    ...mutex,
    `for s in ${scopes.map(quote).join(' ')}; do`,
    `  grep -qsF ${quote(`"run":"${run}"`)} "locks/$s.lock" && rm -f "locks/$s.lock"`,
    'done',
    ':',
  )
}

/** Removes the lock, whoever's it is, and prints `clock …` and whose it was. */
export function breakScript(app: string, scope: string): string {
  return within(
    app,
    ...clock,
    ...mutex,
    'echo "clock $boot $up"',
    `if [ -e locks/${quote(scope)}.lock ]; then echo "locked "${quote(scope)}; cat locks/${quote(scope)}.lock; rm -f locks/${quote(scope)}.lock; fi`,
  )
}

/** Prints `clock …`, and who holds `scope`, if anybody does. An unfinished journal comes before a lock. */
export function holderScript(app: string, scope: string): string {
  return within(
    app,
    ...clock,
    'echo "clock $boot $up"',
    `scopes=${quote(scope)} mine=`,
    ...unfinished,
    'blocking && exit 0',
    `if [ -e locks/${quote(scope)}.lock ]; then echo "locked "${quote(scope)}; cat locks/${quote(scope)}.lock; fi`,
    ':',
  )
}

/** Exits with `lockLost` unless every scope's lock is this run's. What changing scripts run first. */
export function guardText(app: string, run: string, scopes: readonly string[]): string {
  return scopes
    .map(
      (scope) =>
        `grep -qsF ${quote(`"run":"${run}"`)} "${storeFolder(app)}/locks/"${quote(`${scope}.lock`)} || ` +
        `{ echo "the lock of ${scope} is no longer held by this run" >&2; exit ${lockLost}; }`,
    )
    .join('\n')
}

/** Creates the journal with its space and its first line, which is read from standard input. */
export function beginScript(app: string, id: string, guard: string): string {
  const path = `journals/${id}.journal`
  return within(
    app,
    guard,
    `[ -e ${quote(path)} ] && { echo "there is a journal ${id} already" >&2; exit 1; }`,
    `new=journals/.${quote(id)}.$$`,
    `{ cat && head -c ${journalBytes} /dev/zero; } | dd of="$new" bs=65536 conv=fsync 2>/dev/null &&`,
    `[ "$(wc -c <"$new")" -gt ${journalBytes} ] && ln "$new" ${quote(path)} && rm -f "$new" && sync journals 2>/dev/null ||`,
    '{ rm -f "$new"; echo "the journal could not be written: is the disk full?" >&2; exit 1; }',
  )
}

export interface AppendText {
  id: string
  guard: string
  /** Where whole lines end. */
  offset: number
  /** Bytes that were there when it was read: more than `offset` where the last line was torn. */
  bytes: number
  /** Gives back the space that was not needed. */
  last: boolean
}

/** Writes the line on standard input at the end of the journal, on disk when it returns. */
export function appendScript(app: string, append: AppendText): string {
  const { offset, bytes } = append
  return within(
    app,
    append.guard,
    `j=journals/${quote(append.id)}.journal`,
    `[ "$(tr -d '\\0' <"$j" | wc -c)" -eq ${bytes} ] || { echo "the journal has been written to by another run" >&2; exit ${journalMoved}; }`,
    ...(bytes > offset
      ? [
          `head -c ${bytes - offset} /dev/zero | dd of="$j" bs=1 seek=${offset} conv=notrunc,fsync 2>/dev/null || exit 1`,
        ]
      : []),
    `dd of="$j" bs=65536 iflag=fullblock oflag=seek_bytes seek=${offset} conv=notrunc,fsync 2>/dev/null || { echo "the journal could not be written: is the disk full?" >&2; exit 1; }`,
    ...(append.last ? [`n=$(tr -d '\\0' <"$j" | wc -c) && truncate -s "$n" "$j" 2>/dev/null || :`] : []),
  )
}

/** Prints the number of bytes written, and then the text. */
export function readScript(app: string, id: string): string {
  const path = quote(`journals/${id}.journal`)
  return within(
    app,
    `[ -e ${path} ] || { echo "there is no journal ${id}" >&2; exit 1; }`,
    `tr -d '\\0' <${path} | wc -c; tr -d '\\0' <${path}`,
  )
}

/** Prints the first line and the last few of every journal, with a line of its own between. */
export function listScript(app: string): string {
  return within(
    app,
    'for j in journals/*.journal; do',
    '  [ -f "$j" ] || continue',
    '  echo "journal"; tr -d "\\0" <"$j" | head -n 1; echo "last"; tr -d "\\0" <"$j" | tail -n 4',
    'done',
  )
}

export function auditScript(app: string): string {
  return within(app, 'cat >>audit.log')
}

export function auditsScript(app: string, limit: number): string {
  return within(app, `tail -n ${limit} audit.log 2>/dev/null || :`)
}
