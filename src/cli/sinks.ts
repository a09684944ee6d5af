/** Which way a run is shown: the choice between terminal, plain lines, JSON and CI systems. */
import type { RunOptions } from '../events/run.ts'
import { jsonSink, paintFor, plainSink, type Sink } from '../output/index.ts'
import type { Io } from './io.ts'

export function chooseSinks(
  io: Io,
  { json, verbosity }: { json?: boolean; verbosity?: RunOptions['verbosity'] },
): Sink[] {
  if (json) return [jsonSink((text) => io.out(text))]
  const paint = paintFor(io.stderr, io.env)
  return [
    plainSink({ out: (text) => io.out(text), err: (text) => io.err(text), paint, ...(verbosity ? { verbosity } : {}) }),
  ]
}
