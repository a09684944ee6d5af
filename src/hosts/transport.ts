/** The seam: ten or so short methods that a way of reaching a machine has to have. Nothing above knows which it is. */
import type { ChildProcess } from 'node:child_process'
import type { Duplex, Readable, Writable } from 'node:stream'
import type { SFTPWrapper } from 'ssh2'

export interface Transport {
  readonly kind: 'ssh2' | 'openssh' | 'local'
  /** Starts `command` through the login shell. Resolves once the channel is open. Never sends a command twice. */
  exec(command: string, options?: ExecOptions): Promise<Channel>
  /** A stream to a unix socket there. */
  openStream(socketPath: string): Promise<Duplex>
  /** A TCP stream from there: what jump hosts and port forwarding use. */
  openTcp(host: string, port: number): Promise<Duplex>
  /** Arguments and file descriptors that make a local rsync speak over this connection. */
  rsyncShell(): Promise<RsyncShell>
  /** The file transfer subsystem, where this way of reaching a machine has it. */
  sftp?(): Promise<SFTPWrapper>
  /** Settles when the connection is gone, with why. */
  readonly lost: Promise<Error>
  close(): Promise<void>
}

export interface ExecOptions {
  pty?: PtySize
  agentForward?: boolean
  /** Gives up waiting for a free channel. */
  signal?: AbortSignal
  /** Does not wait for a free command channel: what ends a command must get through. */
  urgent?: boolean
  /** All of its input, or the beginning: where it can be, it is sent right behind the command, and the channel says `fed`. */
  input?: { data: Uint8Array; more?: boolean }
}

export interface Channel {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** `exitCode` and `signal` both null: the channel closed without a status, which is a failure. */
  readonly exit: Promise<{ exitCode: number | null; signal: string | null; coreDumped?: boolean }>
  /** Resolves when the status is known, which may be before the streams end: a background job can hold them open. */
  readonly exited?: Promise<void>
  /** The input that came with the command was sent with it. */
  readonly fed?: boolean
  signal(name: 'TERM' | 'KILL' | 'INT' | 'HUP'): void
  resize(size: PtySize): void
  close(): void
}

export interface PtySize {
  columns: number
  rows: number
  term?: string
}

export interface RsyncShell {
  /** For `rsync -e`. Empty for local. */
  remoteShell?: string
  /** `stdio` beyond the first three for the child process, and what to do with it once started. */
  extraStdio: number
  /** It also gets Node's channel between processes, behind them. */
  channel?: boolean
  /** Variables that it needs beside those of this process. */
  env?: Readonly<Record<string, string>>
  attach(child: RsyncChild): Promise<void>
}

/**
 * A local rsync. What the host's rsync complained of is put here, or why it was not even started, and its exit status
 * where the local one is not told of it.
 */
export type RsyncChild = ChildProcess & { remoteStderr?: string; refused?: Error; remoteExit?: number }
