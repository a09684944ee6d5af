/**
 * How a command crosses to a host: one `sh -c`, whatever the login shell is (csh and fish too), in a directory, with
 * an environment, as a user. It announces its process id first, so that its process group can be ended. Pure.
 */
import { quote, type Secret } from '../shell/index.ts'

export interface Scope {
  readonly directory?: string
  readonly env: Readonly<Record<string, string | Secret>>
  readonly user?: string
}

export interface WireCommand {
  /** What the login shell is given. */
  readonly line: string
  /** What goes to standard input before anything else. */
  readonly prelude: string
  /** Taken out of standard error where it first appears. */
  readonly hiddenPrompt?: string
  /** Whether the prelude must wait for `\x1e<nonce> ready` (a terminal would echo it). */
  readonly handshake: boolean
}

/** The kernel's limit for one argument is 128 KiB; what is longer once it is quoted goes by standard input. */
const longestLine = 100_000

export interface WireOptions {
  /** How to become `scope.user`. */
  sudo?: readonly string[]
  /** A line that sudo reads first. */
  sudoPassword?: Secret
  /** What sudo prints when it reads that line, to be left out of what is shown. */
  sudoPrompt?: string
  pty?: boolean
}

/** `text` (rendered; with secrets if `secret`) as it is sent. `nonce` is letters and digits. */
export function wireCommand(
  text: string,
  secret: boolean,
  scope: Scope,
  nonce: string,
  options: WireOptions = {},
): WireCommand {
  const announce = `printf '\\036${nonce} %s\\n' "$$"`
  const body = [
    // `cd -` and CDPATH would print, or go elsewhere.
    ...(scope.directory === undefined ? [] : [`cd ${pathWord(scope.directory)} || exit`]),
    ...exports(scope.env),
    text,
  ].join('; ')
  const hidden = secret || Object.values(scope.env).some((value) => typeof value !== 'string')
  const whole = become(`${announce}; ${body}`, options, scope.user)
  if (hidden || Buffer.byteLength(whole) > longestLine) {
    const ready = options.pty ? `stty -echo -icanon; printf '\\036${nonce} ready\\n'; ` : ''
    const reset = options.pty ? 'stty echo icanon; ' : ''
    // `read` takes exactly one line and leaves the rest of standard input to the command.
    const line = `${ready}IFS= read -r p || exit 75; ${reset}${announce}; eval "$(printf %b "$p")"`
    return {
      line: become(line, options, scope.user),
      prelude: `${passwordLine(options)}${escapeForPercentB(body)}\n`,
      handshake: options.pty === true,
      hiddenPrompt: options.sudoPrompt,
    }
  }
  return {
    line: whole,
    prelude: passwordLine(options),
    handshake: false,
    hiddenPrompt: options.sudoPrompt,
  }
}

function passwordLine(options: WireOptions): string {
  return options.sudoPassword ? `${options.sudoPassword.reveal()}\n` : ''
}

/** What an interactive session runs: a login shell, or `command`, in the scope. Secrets of the scope stay out. */
export function interactiveLine(command: string | undefined, scope: Scope): string {
  const plain = Object.fromEntries(Object.entries(scope.env).filter(([, value]) => typeof value === 'string'))
  const body = [
    ...(scope.directory === undefined ? [] : [`cd ${pathWord(scope.directory)} || exit`]),
    ...exports(plain),
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
    command ?? 'exec "${SHELL:-/bin/sh}" -l',
  ].join('; ')
  // sudo may ask for its password here: there is a terminal.
  return become(body, { sudo: ['sudo'] }, scope.user)
}

/** A script read whole from standard input. What runs it is `sh`, in the scope. */
export function wireScript(scope: Scope, nonce: string, options: WireOptions = {}): WireCommand {
  return wireCommand('eval "$(cat)"', false, scope, nonce, options)
}

function exports(env: Scope['env']): string[] {
  return Object.entries(env).map(
    ([name, value]) => `export ${name}=${quote(typeof value === 'string' ? value : value.reveal())}`,
  )
}

function become(body: string, options: WireOptions, user: string | undefined): string {
  const line = `sh -c ${quoteForAnyShell(body)}`
  if (user === undefined) return line
  return `${(options.sudo ?? ['sudo', '-n']).map(quote).join(' ')} -H -u ${quote(user)} -- ${line}`
}

/**
 * `text` as one word for POSIX shells, csh and fish. Inside single quotes fish reads `\\` and `\'`, and csh reads `!`
 * and newlines, so text with those is spelled in octal and put together again by the inner `sh`.
 */
export function quoteForAnyShell(text: string): string {
  if (!/\\[\\']|\\$|[!\n]/.test(text)) return `'${text.replaceAll("'", `'\\''`)}'`
  return `'eval "$(printf %b "${escapeForPercentB(text)}")"'`
}

/** `text` such that `printf %b` gives it back, in one line, without anything that a shell would read inside "…". */
export function escapeForPercentB(text: string): string {
  return text.replace(/[\\'"$`!\n\r]/g, (char) => `\\0${char.charCodeAt(0).toString(8).padStart(3, '0')}`)
}

/** A path as a word: `~` and `~/…` are the home directory there; nothing is read as an option. */
export function pathWord(path: string): string {
  if (path === '~') return '"$HOME"'
  if (path.startsWith('~/')) return `"$HOME"/${quote(path.slice(2))}`
  return quote(path.startsWith('/') ? path : `./${path}`)
}

/** `path` seen from `directory`. */
export function resolvePath(directory: string | undefined, path: string): string {
  if (path.startsWith('/') || path === '~' || path.startsWith('~/') || directory === undefined) return path
  if (path === '' || path === '.') return directory
  return `${directory.replace(/\/+$/, '')}/${path}`
}

/**
 * Finds `\x1e<nonce> <pid>\n` at the beginning of a stream and takes it away, along with what a login shell's start-up
 * files printed before it. Gives up, and lets all through, after 64 KiB.
 */
export class AnnouncementFilter {
  readonly #head: Buffer
  #held: Buffer | undefined = Buffer.alloc(0)
  pid: number | undefined

  constructor(nonce: string) {
    this.#head = Buffer.from(`\x1e${nonce} `)
  }

  /** What of `chunk` is the command's own. */
  push(chunk: Buffer, onReady?: () => void): Buffer | undefined {
    if (this.#held === undefined) return chunk
    let held: Buffer = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    for (;;) {
      const at = held.indexOf(this.#head)
      const newline = at < 0 ? -1 : held.indexOf(10, at)
      if (newline < 0) {
        this.#held = held
        return held.length > 65_536 ? this.flush() : undefined
      }
      const word = held.toString('latin1', at + this.#head.length, newline).trim()
      held = held.subarray(newline + 1)
      if (word === 'ready') {
        onReady?.()
        continue
      }
      this.pid = Number(word)
      this.#held = undefined
      return held.length > 0 ? held : undefined
    }
  }

  /** What is held back when the stream ends without an announcement. */
  flush(): Buffer | undefined {
    const held = this.#held
    this.#held = undefined
    return held && held.length > 0 ? held : undefined
  }
}

/** Ends the process group of `pid`: `signal`, and after a second and a half KILL. Exits with 0 once none of it is left. */
export function killCommand(pid: number, signal: string): string {
  // The group is asked for now, not at the start: the announcing shell need not lead its group (ForceCommand, sudo).
  const ofPid = (p: string) =>
    `$(ps -o pgid= -p ${p} 2>/dev/null | tr -d ' ' | grep . || sed 's/.*) [A-Za-z] [0-9]* \\([0-9]*\\) .*/\\1/' /proc/${p}/stat 2>/dev/null)`
  return [
    `g=${ofPid(String(pid))}`,
    `[ -n "$g" ] || g=${pid}`,
    // Where the server gives its sessions no group of their own (dropbear), the group is ours too: then the process
    // and its descendants, one by one.
    'tree() { echo "$1"; { ps -eo pid=,ppid= 2>/dev/null || ps -o pid,ppid; } | while read -r c p; do if [ "$p" = "$1" ]; then tree "$c"; fi; done; }',
    `if [ "$g" -gt 1 ] && [ "$g" != "${ofPid('$$')}" ]; then all="-$g"; else all=$(tree ${pid}); fi`,
    // A zombie that its parent has yet to wait for runs no more.
    'living() { l=$(ps -eo pgid=,pid=,stat= 2>/dev/null) || return 0; echo "$l" | while read -r a b c; do case $c in Z*) ;; *) if [ "-$a" = "$1" ] || [ "$b" = "$1" ]; then exit 7; fi;; esac; done; [ $? = 7 ]; }',
    'left() { for p in $all; do if kill -0 "$p" 2>/dev/null && living "$p"; then return 0; fi; done; return 1; }',
    // No `--` before a group: dash takes that for a number.
    `for p in $all; do kill -${signal} "$p" 2>/dev/null; done`,
    'i=0',
    'while left; do i=$((i+1)); if [ $i -gt 15 ]; then for p in $all; do kill -KILL "$p" 2>/dev/null; done; fi; if [ $i -gt 30 ]; then exit 1; fi; sleep 0.1; done',
  ].join('; ')
}
