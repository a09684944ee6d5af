/** `--json`: one event a line on stdout, each with the version of the form, `v`. Fields are only ever added to a version. */
import type { RunEvent } from '../events/events.ts'
import type { Sink } from './sink.ts'

const jsonVersion = 1

export function jsonLine(event: RunEvent): string {
  // In one piece: tens of thousands of lines may come in a second.
  return `{"v":${jsonVersion},${JSON.stringify(event).slice(1)}\n`
}

export function jsonSink(write: (text: string) => void): Sink {
  return { event: (event) => write(jsonLine(event)) }
}
