/** What the command line reads and writes: the process's own streams, or a test's. */

export interface Io {
  out(text: string): void
  err(text: string): void
  cwd: string
  env: NodeJS.ProcessEnv
  stdin: { isTTY?: boolean }
  stdout: { isTTY?: boolean; columns?: number }
  stderr: { isTTY?: boolean; columns?: number; rows?: number }
  /** Calls back once when a reader went away (`| head`). */
  onBrokenPipe(callback: () => void): void
}

export function processIo(): Io {
  const callbacks: (() => void)[] = []
  let broken = false
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      broken = true
      for (const callback of callbacks.splice(0)) callback()
    })
  }
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    cwd: process.cwd(),
    env: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    onBrokenPipe(callback) {
      if (broken) callback()
      else callbacks.push(callback)
    },
  }
}

/** Ends the process once what was written is out: a pipe takes it asynchronously. */
export async function leave(status: number): Promise<never> {
  const drained = (stream: NodeJS.WriteStream) =>
    new Promise<void>((resolve) => {
      if (stream.writableLength === 0 || stream.destroyed) resolve()
      else stream.write('', () => resolve())
    })
  await Promise.all([drained(process.stdout), drained(process.stderr)])
  process.exit(status)
}
