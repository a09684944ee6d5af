/** This machine as a host: commands through zx, each in a process group of its own, streams as they come. */
import type { ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import type { Duplex, Readable, Writable } from 'node:stream'
import { ConnectError } from './errors.ts'
import type { Channel, ExecOptions, Transport } from './transport.ts'

/** An array that keeps nothing: zx stores all output, and the caller has it already. */
class Forgetting extends Array<string | Buffer> {
  override push(): number {
    return 0
  }
}

export async function localTransport(): Promise<Transport> {
  const { $ } = await import('zx')
  let close: (() => void) | undefined
  const lost = new Promise<Error>((resolve) => {
    close = () => resolve(new Error('it was closed'))
  })

  async function exec(command: string, options: ExecOptions = {}): Promise<Channel> {
    // A terminal on this machine is made by `script`, which is everywhere where a pty is wanted.
    const line = options.pty
      ? `exec script -qefc ${singleQuote(`stty cols ${options.pty.columns} rows ${options.pty.rows}; ${command}`)} /dev/null`
      : command
    const store = { stdout: new Forgetting(), stderr: new Forgetting(), stdall: new Forgetting() }
    // The text is a command already: no word is interpolated, so zx's quoting, which is bash's, has no part in it.
    const pieces = Object.assign([line], { raw: [line] }) as unknown as TemplateStringsArray
    const running = $({
      shell: '/bin/sh',
      prefix: '',
      postfix: '',
      nothrow: true,
      quiet: true,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      store,
      ...(options.pty?.term ? { env: { ...process.env, TERM: options.pty.term } } : {}),
    })(pieces)
    running.catch(() => {})
    const child = running.child as ChildProcess
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', () => resolve())
    })
    const exit = new Promise<{ exitCode: number | null; signal: string | null }>((resolve) => {
      child.once('error', () => resolve({ exitCode: 127, signal: null }))
      child.once('close', (code, signal) =>
        resolve(
          code === null
            ? { exitCode: null, signal: signal ? signal.replace(/^SIG/, '') : null }
            : { exitCode: code, signal: null },
        ),
      )
    })
    const signal = (name: string) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, `SIG${name}` as NodeJS.Signals)
      } catch {
        // The group is gone.
      }
    }
    return {
      stdin: child.stdin as Writable,
      stdout: child.stdout as Readable,
      stderr: child.stderr as Readable,
      exit,
      exited,
      signal,
      resize: () => {},
      close: () => {
        child.stdin?.destroy()
        child.stdout?.destroy()
        child.stderr?.destroy()
      },
    }
  }

  return {
    kind: 'local',
    lost,
    exec,
    openStream: (path) => open({ path }, `the socket ${path}`),
    openTcp: (host, port) => open({ host, port }, `${host} port ${port}`),
    rsyncShell: async () => ({ extraStdio: 0, attach: async () => {} }),
    close: async () => close?.(),
  }
}

const singleQuote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

function open(target: { path: string } | { host: string; port: number }, what: string): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect(target as { path: string })
    socket.once('connect', () => resolve(socket))
    socket.once('error', (error) => {
      reject(
        new ConnectError('channel-refused', `a connection to ${what} on this machine was refused`, {
          host: 'local',
          detail: error.message,
          cause: error,
          state: 'That was not started.',
        }),
      )
    })
  })
}
