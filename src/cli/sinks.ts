/** Which way a run is shown: the choice between terminal, plain lines, JSON and CI systems. */
import type { RunOptions } from '../events/run.ts'
import { githubSink, gitlabSink, jsonSink, paintFor, plainSink, type Sink, terminalSink } from '../output/index.ts'
import type { Io } from './io.ts'

export interface Showing {
  json?: boolean | undefined
  verbosity?: RunOptions['verbosity']
}

/** A sink; `pause` where it draws on the terminal and has to be kept from it while something else is there. */
export function chooseSink(io: Io, { json, verbosity = 'normal' }: Showing): Sink & { pause?(): () => void } {
  const writers = { out: (text: string) => io.out(text), err: (text: string) => io.err(text), verbosity }
  if (json) return jsonSink(writers.out)
  if (io.env['GITHUB_ACTIONS'] === 'true') return githubSink(writers)
  if (io.env['GITLAB_CI'] === 'true') return gitlabSink(writers)
  const paint = paintFor(io.stderr, io.env)
  if (!io.stderr.isTTY || io.env['TERM'] === 'dumb' || verbosity === 'quiet') return plainSink({ ...writers, paint })
  return terminalSink({
    ...writers,
    paint,
    outIsTerminal: io.stdout.isTTY === true,
    size: () => ({ columns: io.stderr.columns ?? 80, rows: io.stderr.rows ?? 24 }),
  })
}
