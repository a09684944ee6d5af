/**
 * A host: one machine that runs commands and holds files, over SSH or local, behind one interface. Values all:
 * `cd`, `env` and `as` derive a new host and change nothing. Nothing here knows of deployments.
 */
import type { Duplex, Readable } from 'node:stream'
import type { Command, Secret, Word } from '../shell/index.ts'

export interface HostStream extends Duplex {
  /** Once it has ended: the error of `what`, which was under way, where that is because the connection was lost. */
  lost?(what: string): Promise<Error | undefined>
}

/** One machine: runs commands, holds files. Nothing about it is ever mutated: `cd`, `env` and `as` give new hosts. */
export interface Host {
  /** As the user wrote it: `deploy@web1.example.org`, an alias of ~/.ssh/config, or `local`. */
  readonly name: string
  readonly kind: 'ssh' | 'local'
  /** Where commands start; undefined is the login directory. */
  readonly directory?: string

  /** Runs a command that changes something. In a dry run it is shown and held back. */
  readonly $: CommandTag
  /** Runs a command that only reads; a dry run runs it too. */
  readonly probe: CommandTag
  /** Like `$` and `probe`, from a command value. */
  run(command: Command | string, options?: RunCommandOptions): Running

  /** A host whose commands and relative paths start in `dir` (relative to this one's; `~/` is the remote home). */
  cd(dir: string): Host
  /** A host whose commands have these variables too. Secrets travel by stdin, never in an argument list. */
  env(variables: Readonly<Record<string, string | number | boolean | Secret | undefined>>): Host
  /** A host whose commands and files are another user's: `sudo -n -u user -- sh -c …`, asking once for a password. */
  as(user: string): Host

  /**
   * Many steps in one round trip: `set -eu`, each step with its own output, status and time. A failing step ends
   * the script with a ScriptError, unless it is `nothrow`. `kind: 'probe'` also runs in a dry run.
   */
  script(steps: readonly ScriptStep[], options?: ScriptOptions): Promise<StepResult[]>
  /** Many reads in one round trip; each may fail on its own: look at its exitCode. */
  probes<K extends string>(reads: Readonly<Record<K, Command>>): Promise<Record<K, StepResult>>

  read(path: string): Promise<string>
  readBytes(path: string): Promise<Buffer>
  /** Writes beside and renames, only when the content or mode differs. Returns whether it changed. */
  write(path: string, content: string | Uint8Array | Secret, options?: WriteOptions): Promise<boolean>
  /** `change` gets the text (empty where there is no file) and returns what it should be. Returns whether it changed. */
  edit(path: string, change: (text: string) => string, options?: WriteOptions): Promise<boolean>
  /** Renders the local eta template `file` with `data` (no HTML escaping) and writes it. Returns whether it changed. */
  template(file: string, path: string, data: Record<string, unknown>, options?: WriteOptions): Promise<boolean>
  exists(path: string): Promise<boolean>
  /** Makes or replaces a symlink in one rename. Returns whether it changed. */
  symlink(target: string, link: string): Promise<boolean>
  /** Where a symlink points, or undefined. */
  readlink(path: string): Promise<string | undefined>
  chmod(path: string, mode: number | string): Promise<void>
  mkdir(path: string, options?: { mode?: number }): Promise<void>
  /** Refused on `/`, `~` and the empty path. */
  remove(path: string, options?: { recursive?: boolean }): Promise<void>
  upload(localFile: string, path: string, options?: WriteOptions): Promise<void>
  download(path: string, localFile: string): Promise<void>
  /** Copies a tree over the same connection with rsync; SFTP where the host has none. */
  rsync(options: RsyncOptions): Promise<RsyncResult>
  /** Follows files from `lines` back; yields until aborted. Survives rotation and a lost connection. */
  tail(paths: string | readonly string[], options?: TailOptions): AsyncIterable<TailLine>

  /** A raw connection to a unix socket on the host, over the same SSH connection. */
  openStream(socketPath: string): Promise<HostStream>
  /** The remote home directory, absolute; asked once a run. */
  home(): Promise<string>
  /** Restarts the machine and waits for a new boot id. */
  reboot(options?: { deadlineMs?: number }): Promise<void>
  /** An interactive shell or command with a terminal; resolves with its exit status. */
  shell(command?: string): Promise<number>
}

export type CommandTag = (strings: TemplateStringsArray, ...words: readonly Word[]) => Running

/** How a command is run: what it may take, how it is shown, what is a failure. */
export interface RunCommandOptions {
  kind?: 'probe' | 'write'
  /** Any exit status or signal resolves instead of rejecting. */
  nothrow?: boolean
  /** Not shown unless -v. */
  quiet?: boolean
  /** Ends the remote process group after this long. */
  timeoutMs?: number
  /** Ends the remote process group when it printed nothing for this long. */
  idleTimeoutMs?: number
  input?: string | Uint8Array | Readable | Secret
  /** Exit statuses that are not failures; [0] unless given. */
  okCodes?: readonly number[]
  pty?: boolean
  /** Bytes of each stream kept in memory for the result; the rest is on disk. 8 MiB unless given. */
  captureBytes?: number
  /** How it is shown in place of its text. */
  label?: string
  /** It keeps the tool's own records (locks, journals, the audit log): `--step` does not ask about it. */
  ownRecord?: boolean
  /** Its output is what the run was asked for: shown unchanged, stdout on stdout and stderr on stderr. */
  result?: boolean
}

/**
 * A command under way. It starts in the next microtask, so that options can be chained first; await it for its
 * result. Rejects with a CommandError (non-zero exit, signal, no status), a TimeoutError, or an OutcomeUnknownError.
 */
export interface Running extends PromiseLike<Result> {
  nothrow(): Running
  quiet(): Running
  /** `'30s'`, `'2m'`, or milliseconds. */
  timeout(duration: string | number): Running
  idleTimeout(duration: string | number): Running
  input(data: string | Uint8Array | Readable | Secret): Running
  okCodes(...codes: number[]): Running
  pty(): Running
  /** stdout without trailing newlines. */
  text(): Promise<string>
  lines(): Promise<string[]>
  json<T = unknown>(): Promise<T>
  /** Whether it exited with 0; other statuses do not reject. */
  ok(): Promise<boolean>
  /** The streams as they come, not captured in memory. Calling it starts the command. */
  stdout(): Readable
  kill(signal?: 'TERM' | 'KILL' | 'INT' | 'HUP'): Promise<void>
  catch<T>(onRejected: (error: unknown) => T | PromiseLike<T>): Promise<Result | T>
  finally(onFinally: () => void): Promise<Result>
}

/** What a command came to: its output, exit status or signal, and how long it took. */
export interface Result {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number | null
  /**
   * The signal that ended it: `KILL`. Where a shell stands in between (with the system's ssh, under a ForceCommand, on
   * this machine) it is told as shells do: null here, and as `exitCode` 128 and the signal's number.
   */
  readonly signal: string | null
  readonly durationMs: number
  /** Whether stdout or stderr was longer than what is kept here. */
  readonly truncated: boolean
  /** Where all of a truncated stream is, until the run ends. */
  readonly files?: { readonly stdout?: string; readonly stderr?: string }
  text(): string
  lines(): string[]
  json<T = unknown>(): T
}

export interface FileChange {
  /** Absolute, there. */
  path: string
  /** What it will hold. */
  text: string
  /** A text of it, old or new, as it may be shown: without values that are secret. As it is unless given. */
  shown?(text: string): string
}

/** One step of a script: its name, its command, and what it writes. */
export interface ScriptStep {
  /** Shown, and used in errors: "link the settings". */
  name: string
  command: Command
  /** Goes on after a failure of this step. */
  nothrow?: boolean
  /** What it prints is for the caller alone: it is not shown, and in no log. */
  hidden?: boolean
  /** The file or files that it writes: a dry run shows what would change in them. */
  writes?: FileChange | readonly FileChange[]
}

/** How a script is run: what it may take, how it is shown, and what has to hold before it begins. */
export interface ScriptOptions {
  kind?: 'probe' | 'write'
  timeoutMs?: number
  quiet?: boolean
  /** What every changing script runs first; a non-zero exit stops it before anything changes (the lock check). */
  guard?: Command
}

/** What one step of a script came to. */
export interface StepResult {
  name: string
  stdout: string
  stderr: string
  /** null: it was not reached. */
  exitCode: number | null
  durationMs: number
}

/** How a file is written. */
export interface WriteOptions {
  mode?: number
}

/** What is copied where, and how. */
export interface RsyncOptions {
  /** Relative to the project folder where local. A trailing slash means the folder's content, as in rsync. */
  source: string
  destination: string
  direction?: 'up' | 'down'
  exclude?: readonly string[]
  /** A file of patterns in rsync's form; lines in .gitignore's simple form work. */
  excludeFrom?: string
  /** Removes what the source lacks; refused on `/`, `~` and the empty path. */
  delete?: boolean
  /** A remote folder whose unchanged files are hard-linked. */
  linkDest?: string
  checksum?: boolean
  /** For a dry run, or a plan: list, and change nothing. */
  dryRun?: boolean
}

/** What a copy came to: which files were sent and deleted, and how many bytes. */
export interface RsyncResult {
  /** Files sent, as rsync itemizes them. */
  changed: string[]
  deleted: string[]
  files: number
  bytesSent: number
  bytesTotal: number
}

/** From where a file is shown, and whether it is followed. */
export interface TailOptions {
  follow?: boolean
  lines?: number
  /** `'10m'`, or a date that the host's `date` understands. */
  since?: string
  grep?: string
}

/** A line of a followed file, with its host. */
export interface TailLine {
  host: string
  path: string
  text: string
  /** A marker instead of a line: what happened between (`'gap'`: lines may be missing here). */
  mark?: 'gap' | 'rotated' | 'reconnected'
}

/** What failed on one host, or what it returned. */
export type HostOutcome<T> =
  | { ok: true; value: T; durationMs: number }
  | { ok: false; error: Error; durationMs: number }

/** How a function is run on several hosts: how many at once, in which batches, and how many may fail. */
export interface EachOptions {
  /** `false`: one after the other. Default true. */
  parallel?: boolean
  /** Hosts at once. 32 unless given. */
  poolSize?: number
  /** So many hosts (a number), a share (`'25%'`) or a ramp (`[1, '25%', '100%']`) at a time, each batch after the last. */
  batch?: number | string | readonly (number | string)[]
  /** More failures than this stop what has not begun. Infinity unless given: all hosts are tried. */
  maxFailures?: number
  /** Resolve with the outcomes even where hosts failed. */
  nothrow?: boolean
}

/** Several hosts. An empty group is an error when used: never "run locally". */
export interface HostGroup extends Iterable<Host> {
  readonly label: string
  readonly size: number
  /**
   * Calls `fn` for each host (narrowed and paced by -H, -R, -x, -P, -z) and resolves with a Map of outcomes. Rejects
   * with a FleetError that holds the same Map when a host failed. A lone Running may be returned.
   */
  each<T>(fn: (host: Host) => T | PromiseLike<T>, options?: EachOptions): Promise<Map<Host, HostOutcome<T>>>
  /** This group without the hosts named. */
  except(...names: string[]): HostGroup
  first(): Host
}
