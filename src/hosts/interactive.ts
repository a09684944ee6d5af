/** A person's terminal on a host: a shell, or a command that wants a screen. */
import { maybeRun } from '../events/run.ts'
import { orAborted } from './promises.ts'
import type { Channel, PtySize, Transport } from './transport.ts'

export interface Terminal {
  readonly input: NodeJS.ReadStream
  readonly output: NodeJS.WriteStream
  readonly errors: NodeJS.WriteStream
}

const ownTerminal = (): Terminal => ({ input: process.stdin, output: process.stdout, errors: process.stderr })

/**
 * Runs `line` with the terminal's input and output until it ends. Resolves with its exit status, as a shell has it:
 * 128 and the signal's number where it was ended by one, 255 where the connection was lost. Rejects with the abort's
 * reason where the run is interrupted: Ctrl-C goes to the host only where all of the terminal is there.
 */
export async function interact(
  transport: Transport,
  line: string,
  terminal: Terminal = ownTerminal(),
): Promise<number> {
  const { input, output } = terminal
  const screen = input.isTTY === true && output.isTTY === true
  // What draws there (progress, the tree of tasks) waits until the terminal is its own again.
  const goOn = screen ? maybeRun()?.prompter.pause?.() : undefined
  const signal = maybeRun()?.signal
  const given = { urgent: true, ...(signal ? { signal } : {}), ...(screen ? { pty: sizeOf(output) } : {}) }
  const opening = orAborted(signal, transport.exec(line, given), (late) => late.close())
  opening.catch(() => goOn?.())
  const channel = await opening
  const resize = () => channel.resize(sizeOf(output))
  if (screen) {
    input.setRawMode(true)
    output.on('resize', resize)
  }
  try {
    return await connectStreams(channel, terminal, signal)
  } finally {
    if (screen) {
      input.setRawMode(false)
      output.off('resize', resize)
    }
    input.unpipe(channel.stdin)
    // A terminal that is still being read would keep the process from ending.
    input.pause()
    input.unref?.()
    goOn?.()
  }
}

async function connectStreams(
  channel: Channel,
  { input, output, errors }: Terminal,
  interrupted: AbortSignal | undefined,
): Promise<number> {
  channel.stdin.on('error', () => {})
  input.ref?.()
  input.pipe(channel.stdin)
  const ended = [channel.stdout, channel.stderr].map(
    (stream) =>
      new Promise<void>((resolve) => {
        stream.once('end', resolve)
        stream.once('close', resolve)
      }),
  )
  channel.stdout.pipe(output, { end: false })
  channel.stderr.pipe(errors, { end: false })
  const ending = Promise.all([channel.exit, ...ended])
  const [{ exitCode, signal }] = await orAborted(interrupted, ending).catch((error: unknown) => {
    // What nobody reads any more would keep the channel from its end.
    for (const stream of [channel.stdout, channel.stderr]) stream.unpipe().resume()
    channel.signal('HUP')
    channel.close()
    throw error
  })
  if (exitCode !== null) return exitCode
  return signal === null ? 255 : 128 + (signalNumbers[signal.replace(/^SIG/, '')] ?? 1)
}

const signalNumbers: Record<string, number> = { HUP: 1, INT: 2, QUIT: 3, KILL: 9, PIPE: 13, TERM: 15 }

function sizeOf(output: NodeJS.WriteStream): PtySize {
  return { columns: output.columns || 80, rows: output.rows || 24, term: process.env.TERM || 'xterm-256color' }
}
