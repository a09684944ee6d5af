/**
 * The processes of a release as the kernel knows them, whoever started them: each carries SLIPWAY_PROCESS in its
 * environment. What supervisord says is one witness; this is the other. Pure builders and readers.
 */
import { type Command, quote, raw, sh } from '../../shell/index.ts'

export interface LiveProcess {
  pid: number
  /** In clock ticks since boot: with the pid, it names one process for good. */
  startTime: string
  program: string
}

const forRegex = (text: string): string => text.replace(/[.[\]*^$\\+?(){}|]/g, '\\$&')

/** Lists `pid starttime program` of each process of the release in `dir`; one-off commands are left out. */
export function listProcesses(dir: string): Command {
  const pattern = quote(`^SLIPWAY_PROCESS=${forRegex(dir)}:.*`)
  return sh`for f in $(grep -lsazE ${raw(pattern)} /proc/[0-9]*/environ 2>/dev/null || :); do
  p=\${f#/proc/}; p=\${p%/environ}
  n=$(tr '\\0' '\\n' <"$f" 2>/dev/null | sed -n 's/^SLIPWAY_PROCESS=.*://p') || continue
  s=$(sed 's/.*) //' "/proc/$p/stat" 2>/dev/null | cut -d' ' -f1,20) || continue
  case "$n $s" in run\\ *|*\\ Z\\ *|'') ;; *) echo "$p \${s#* } $n" ;; esac
done`
}

export function readProcesses(text: string): LiveProcess[] {
  return text.split('\n').flatMap((line) => {
    const match = /^(\d+) (\d+) (\S+)$/.exec(line.trim())
    return match ? [{ pid: Number(match[1]), startTime: match[2] as string, program: match[3] as string }] : []
  })
}

/**
 * Ends processes of the release whose program is one of `names`: TERM, up to `seconds` to finish, then KILL. Prints
 * `ended PID PROGRAM` or `killed PID PROGRAM` for each. Exits 1 where one is left even then.
 */
export function endProcesses(dir: string, names: readonly string[], seconds: number): Command {
  const wanted = quote(` ${names.join(' ')} `)
  return sh`list() {
${listProcesses(dir)}
}
mine() { list | while read -r p s n; do case ${raw(wanted)} in *" $n "*) echo "$p $s $n";; esac; done; }
gone() { [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20)" != "$2" ] || [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" = Z ]; }
before=$(mine)
[ -n "$before" ] || exit 0
echo "$before" | while read -r p s n; do kill -TERM "$p" 2>/dev/null || :; done
# By the clock: on a busy machine looking takes longer than the pause between.
end=$(( $(date +%s) + ${seconds} ))
while [ "$(date +%s)" -lt "$end" ]; do
  [ -n "$(echo "$before" | while read -r p s n; do gone "$p" "$s" || echo x; done)" ] || break
  sleep 0.1
done
echo "$before" | while read -r p s n; do
  if gone "$p" "$s"; then echo "ended $p $n"; else kill -KILL "$p" 2>/dev/null || :; echo "killed $p $n"; fi
done
i=0
while [ -n "$(mine)" ]; do i=$((i + 1)); [ "$i" -lt 50 ] || { mine >&2; exit 1; }; sleep 0.1; done`
}
