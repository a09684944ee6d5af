/** Which way a run is shown: the choice between terminal, plain lines, JSON and CI systems. */
import type { RunOptions } from '../events/run.ts'
import { githubSink, gitlabSink, jsonSink, paintFor, plainSink, type Sink } from '../output/index.ts'
import type { Io } from './io.ts'

export interface Showing {
  json?: boolean | undefined
  verbosity?: RunOptions['verbosity']
}

export function chooseSink(io: Io, { json, verbosity = 'normal' }: Showing): Sink {
  const writers = { out: (text: string) => io.out(text), err: (text: string) => io.err(text), verbosity }
  if (json) return jsonSink(writers.out)
  if (io.env['GITHUB_ACTIONS'] === 'true') return githubSink(writers)
  if (io.env['GITLAB_CI'] === 'true') return gitlabSink(writers)
  return plainSink({ ...writers, paint: paintFor(io.stderr, io.env) })
}
