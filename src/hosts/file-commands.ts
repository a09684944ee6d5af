/**
 * File operations as shell text: one round trip each, POSIX tools only. Pure. Paths are what `pathWord` takes; what an
 * operation finds out it says by its exit status (`status`) or on standard output.
 */
import { Command, quote } from '../shell/index.ts'
import { pathWord } from './wire.ts'

/** Exit statuses of these commands that mean something of their own. */
export const status = { missing: 44, denied: 45, isDirectory: 46, short: 47, notAFile: 48 } as const

const text = (...lines: string[]) => new Command([{ text: lines.join('; ') }])

const assign = (path: string) => `t=${pathWord(path)}`
const mustExist = `if [ ! -e "$t" ] && [ ! -L "$t" ]; then exit ${status.missing}; fi`

export function readCommand(path: string): Command {
  return text(
    assign(path),
    mustExist,
    `if [ -d "$t" ]; then exit ${status.isDirectory}; fi`,
    `if [ ! -r "$t" ]; then exit ${status.denied}; fi`,
    'exec cat -- "$t"',
  )
}

/**
 * Takes `size` bytes from standard input and puts them in place of `path` in one rename, if they or `mode` differ from
 * what is there. Prints `changed` or `same`. Keeps mode and owner of what it replaces; follows symlinks.
 */
export function writeCommand(path: string, size: number, mode: number | undefined, modeIfNew: number): Command {
  const octal = (value: number) => value.toString(8)
  return text(
    'set -eu',
    assign(path),
    // A link is followed, so that what it points at changes and it stays a link.
    'if [ -L "$t" ]; then t=$(readlink -f -- "$t"); fi',
    `if [ -d "$t" ]; then exit ${status.isDirectory}; fi`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
    'd=${t%/*}; if [ "$d" = "$t" ]; then d=.; elif [ -z "$d" ]; then d=/; fi',
    `if [ ! -d "$d" ]; then exit ${status.missing}; fi`,
    `if [ ! -w "$d" ]; then exit ${status.denied}; fi`,
    'n=$(mktemp "$d/.slipway-write.XXXXXX")',
    `trap 'rm -f -- "$n"' EXIT`,
    'trap "exit 1" HUP INT TERM PIPE',
    'cat >"$n"',
    // A connection lost half-way ends the input early: what came must not replace what is there.
    `if [ "$(wc -c <"$n" | tr -d ' ')" != ${size} ]; then exit ${status.short}; fi`,
    `old=`,
    'if [ -e "$t" ]; then old=$(stat -c %a -- "$t" 2>/dev/null || stat -f %Lp -- "$t"); fi',
    mode === undefined ? `m=\${old:-${octal(modeIfNew)}}` : `m=${octal(mode)}`,
    'if [ -n "$old" ] && [ "$old" = "$m" ] && { cmp -s -- "$n" "$t" || { ! command -v cmp >/dev/null && [ "$(cksum <"$n")" = "$(cksum <"$t")" ]; }; }; then echo same; exit 0; fi',
    'chmod "$m" "$n"',
    'if [ -n "$old" ] && [ "$(id -u)" = 0 ]; then chown "$(stat -c %u:%g -- "$t" 2>/dev/null || stat -f %u:%g -- "$t")" "$n"; chmod "$m" "$n"; fi',
    'sync -- "$n" 2>/dev/null || sync 2>/dev/null || :',
    'mv -f -- "$n" "$t"',
    'trap - EXIT',
    'echo changed',
  )
}

export function existsCommand(path: string): Command {
  return text(assign(path), 'if [ -e "$t" ] || [ -L "$t" ]; then echo yes; else echo no; fi')
}

export function symlinkCommand(target: string, link: string): Command {
  return text(
    'set -eu',
    // A target is what the link will say: it is not seen from the current directory.
    `v=${target === '~' || target.startsWith('~/') ? pathWord(target) : quote(target)}`,
    `t=${pathWord(link)}`,
    'if [ -L "$t" ] && [ "$(readlink -- "$t")" = "$v" ]; then echo same; exit 0; fi',
    `if [ ! -L "$t" ] && [ -d "$t" ]; then exit ${status.isDirectory}; fi`,
    'n="$t.slipway-$$"',
    'ln -s -- "$v" "$n"',
    // `mv -T` is GNU and busybox; elsewhere `mv -h`. Plain mv would move it into a directory that the old link names.
    'mv -T -f -- "$n" "$t" 2>/dev/null || mv -h -f -- "$n" "$t" 2>/dev/null || { rm -f -- "$n"; exit 1; }',
    'echo changed',
  )
}

export function readlinkCommand(path: string): Command {
  return text(assign(path), `if [ ! -L "$t" ]; then exit ${status.missing}; fi`, 'exec readlink -- "$t"')
}

export function chmodCommand(path: string, mode: number | string): Command {
  const wanted = typeof mode === 'number' ? mode.toString(8) : mode
  return text(assign(path), mustExist, `exec chmod ${quote(wanted)} -- "$t"`)
}

export function mkdirCommand(path: string, mode: number | undefined): Command {
  if (mode === undefined) return text(assign(path), 'exec mkdir -p -- "$t"')
  return text('set -e', assign(path), 'mkdir -p -- "$t"', `exec chmod ${mode.toString(8)} -- "$t"`)
}

export function removeCommand(path: string, recursive: boolean): Command {
  return text(
    assign(path),
    // Where a variable or a link made this the root or the home after all, the host refuses too.
    'case $t in /|"$HOME"|"$HOME"/|"") exit 1;; esac',
    `if [ ! -L "$t" ] && [ -d "$t" ]; then ${recursive ? 'exec rm -rf -- "$t"' : 'exec rmdir -- "$t"'}; fi`,
    'exec rm -f -- "$t"',
  )
}

/** Prints the permission bits in octal. */
export function modeCommand(path: string): Command {
  return text(assign(path), 'stat -L -c %a -- "$t" 2>/dev/null || stat -L -f %Lp -- "$t"')
}

/** Whether removing or emptying `path` would be a disaster: the root, the home, nothing, or a way back to them. */
export function isTooBroad(path: string): boolean {
  const trimmed = path.trim()
  if (trimmed === '') return true
  const home = trimmed === '~' || trimmed.startsWith('~/')
  const parts: string[] = []
  for (const part of (home ? trimmed.slice(1) : trimmed).split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      if (parts.length === 0 || parts.at(-1) === '..') parts.push('..')
      else parts.pop()
    } else parts.push(part)
  }
  return parts.length === 0 || parts[0] === '..'
}
