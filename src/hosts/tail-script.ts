/**
 * The script that follows files on a host, and what it says. It knows a file by inode and offset, and sends both with
 * every piece, so that a follower that was cut off goes on at the very byte. Pure.
 */
import { Command, quote } from '../shell/index.ts'
import { pathWord } from './wire.ts'

/** Where a follower is in a file. */
export interface TailPosition {
  inode: string
  offset: number
}

export interface TailPlan {
  readonly paths: readonly string[]
  /** Where to go on; undefined for a file that has not been begun. */
  readonly from: readonly (TailPosition | undefined)[]
  /** How far back to begin: so many lines, or so many bytes. */
  readonly back: { lines: number } | { bytes: number }
  readonly follow: boolean
  readonly nonce: string
  /** Seconds between looks. */
  readonly interval: number
}

/** dash knows descriptors of one digit only, and the first three and the last are taken. */
export const filesPerFollower = 6

/**
 * Says `\x1e<nonce> D <file> <inode> <offset> <length>\n` and then that many bytes; and `M <file> <mark>` where
 * something happened: `rotated`, `gap`.
 */
export function tailCommand(plan: TailPlan): Command {
  const { nonce } = plan
  const lines = [
    // Once our end is gone the input ends, and with it the follower: nothing is left running on the host.
    'exec 9<&0',
    '(cat <&9 >/dev/null; kill "$$" 2>/dev/null) >/dev/null 2>&1 & w=$!',
    `trap 'kill "$w" 2>/dev/null' EXIT`,
    `trap 'exit 0' TERM INT HUP PIPE`,
    'exec </dev/null',
    `say() { printf '\\036${nonce} %s\\n' "$*"; }`,
    `look() { stat -L -c '%i %s' -- "$1" 2>/dev/null || stat -L -f '%i %z' -- "$1" 2>/dev/null || echo '- 0'; }`,
    // The last bytes before an offset: what tells a file that was truncated and has grown again from one that grew.
    `sign() { if [ "$2" -ge 64 ]; then tail -c +"$(($2-63))" -- "$1" 2>/dev/null | head -c 64 | cksum; fi; }`,
    // send INDEX FILE INODE FROM TO
    'send() { n=$(($5-$4)); if [ "$n" -gt 0 ]; then say D "$1" "$3" "$4" "$n"; tail -c +"$(($4+1))" -- "$2" | head -c "$n"; fi; }',
    ...plan.paths.map((path, index) => `f${index}=${pathWord(path)}`),
    ...plan.paths.map((path, index) => begin(plan, path, index)),
    ...(plan.follow
      ? [`while :; do sleep ${plan.interval}`, ...plan.paths.map((_path, index) => step(index)), 'done']
      : []),
  ]
  return new Command([{ text: lines.join('\n') }])
}

function begin(plan: TailPlan, path: string, index: number): string {
  const [f, i, p, s] = names(index)
  const from = plan.from[index]
  const open = `{ [ ! -r "$${f}" ] || exec ${index + 3}<"$${f}"; }`
  const found = `set -- $(look "$${f}"); ${i}=$1; size=$2; ${open}`
  // Taken before anything is sent: whoever sees a line may truncate the file at once.
  const sign = `${s}=$(sign "$${f}" "$size")`
  if (from === undefined) {
    const start =
      'lines' in plan.back
        ? `${p}=$((size - $(tail -n ${plan.back.lines} -- "$${f}" 2>/dev/null | head -c "$size" | wc -c)))`
        : `${p}=$((size > ${plan.back.bytes} ? size - ${plan.back.bytes} : 0))`
    return [
      found,
      start,
      sign,
      `if [ "$${i}" = - ]; then say M ${index} missing; ${p}=0; else say D ${index} "$${i}" "$${p}" 0; send ${index} "$${f}" "$${i}" "$${p}" "$size"; ${p}=$size; fi`,
    ].join('\n')
  }
  // Away for a while: the same file, or one that was moved beside it, or one that is gone.
  return [
    found,
    sign,
    `${p}=${from.offset}`,
    `if [ "$${i}" = ${quote(from.inode)} ] && [ "$size" -ge "$${p}" ]; then send ${index} "$${f}" "$${i}" "$${p}" "$size"`,
    `elif [ "$${i}" = ${quote(from.inode)} ]; then say M ${index} gap; send ${index} "$${f}" "$${i}" 0 "$size"`,
    `else old=$(find ${parentWord(path)} -maxdepth 1 -inum ${quote(from.inode)} 2>/dev/null | head -n 1)`,
    `if [ -n "$old" ]; then set -- $(look "$old"); send ${index} "$old" "$1" "$${p}" "$2"; say M ${index} rotated; else say M ${index} gap; fi`,
    `if [ "$${i}" != - ]; then say D ${index} "$${i}" 0 0; send ${index} "$${f}" "$${i}" 0 "$size"; fi`,
    'fi',
    `${p}=$size`,
  ].join('\n')
}

function step(index: number): string {
  const [f, i, p, s] = names(index)
  const fd = index + 3
  const reopen = `exec ${fd}<&-; [ ! -r "$${f}" ] || exec ${fd}<"$${f}"`
  return [
    `set -- $(look "$${f}"); ino=$1; size=$2`,
    `if [ "$ino" = "$${i}" ]; then`,
    `if [ "$ino" != - ] && { [ "$size" -lt "$${p}" ] || { [ "$size" -gt "$${p}" ] && [ "$(sign "$${f}" "$${p}")" != "$${s}" ]; }; }; then`,
    // Truncated. Where it was copied first (copytruncate), the copy has what was written since we looked.
    `old=$(ls -t -- "$${f}".* 2>/dev/null | head -n 1)`,
    `if [ -n "$old" ] && [ -n "$${s}" ] && [ "$(sign "$old" "$${p}")" = "$${s}" ]; then set -- $(look "$old"); send ${index} "$old" "$1" "$${p}" "$2"; say M ${index} rotated; else say M ${index} gap; fi`,
    `say D ${index} "$ino" 0 0; ${p}=0; ${s}=`,
    'fi',
    `if [ "$size" -gt "$${p}" ]; then ${s}=$(sign "$${f}" "$size"); send ${index} "$${f}" "$ino" "$${p}" "$size"; ${p}=$size; fi`,
    `elif [ "$ino" != - ]; then`,
    // Renamed: the old file is still open here; what was written to it after the rename is read first.
    `if [ "$${i}" != - ]; then held=/proc/$$/fd/${fd}; if [ -r "$held" ]; then set -- $(look "$held"); send ${index} "$held" "$${i}" "$${p}" "$2"; say M ${index} rotated; else say M ${index} gap; fi; fi`,
    reopen,
    `set -- $(look "$${f}"); ${i}=$1; size=$2; ${s}=$(sign "$${f}" "$size"); say D ${index} "$${i}" 0 0; send ${index} "$${f}" "$${i}" 0 "$size"; ${p}=$size`,
    'fi',
  ].join('\n')
}

const names = (index: number) => [`f${index}`, `i${index}`, `p${index}`, `s${index}`] as const

function parentWord(path: string): string {
  const slash = path.lastIndexOf('/')
  if (slash < 0) return '.'
  return slash === 0 ? '/' : pathWord(path.slice(0, slash))
}

export type TailPiece =
  | { type: 'data'; file: number; inode: string; offset: number; bytes: Buffer }
  | { type: 'mark'; file: number; mark: 'gap' | 'rotated' | 'missing' }

/** Takes the follower's output apart as it comes. Data is handed on in parts; each says its own offset. */
export function createTailParser(nonce: string): (chunk: Buffer) => TailPiece[] {
  const head = Buffer.from(`\x1e${nonce} `)
  let held: Buffer = Buffer.alloc(0)
  let current: { file: number; inode: string; offset: number; left: number } | undefined
  return (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    const pieces: TailPiece[] = []
    for (;;) {
      if (current && current.left > 0) {
        if (held.length === 0) return pieces
        const bytes = held.subarray(0, current.left)
        pieces.push({ type: 'data', file: current.file, inode: current.inode, offset: current.offset, bytes })
        current.offset += bytes.length
        current.left -= bytes.length
        held = held.subarray(bytes.length)
        continue
      }
      const at = held.indexOf(head)
      const newline = at < 0 ? -1 : held.indexOf(10, at)
      if (newline < 0) return pieces
      const [kind, file, a = '', b = '0', c = '0'] = held.toString('latin1', at + head.length, newline).split(' ')
      held = held.subarray(newline + 1)
      if (kind === 'M') {
        current = undefined
        pieces.push({ type: 'mark', file: Number(file), mark: a as 'gap' | 'rotated' | 'missing' })
        continue
      }
      current = { file: Number(file), inode: a, offset: Number(b), left: Number(c) }
      // A piece of no length says where the follower is.
      if (current.left === 0) {
        pieces.push({ type: 'data', file: current.file, inode: a, offset: current.offset, bytes: Buffer.alloc(0) })
      }
    }
  }
}
