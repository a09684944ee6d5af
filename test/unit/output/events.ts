/** Events for tests of what is shown, without the parts that are always the same. */
import type { EventBody, RunEvent } from '../../../src/events/index.ts'
import type { Sink } from '../../../src/output/index.ts'

export const at = Date.UTC(2026, 10, 27, 10, 15)

export function events(...bodies: (EventBody & { at?: number })[]): RunEvent[] {
  return bodies.map((body) => ({ at, run: '20261127T101500-ab12cd', ...body }))
}

/** What a sink writes for `bodies`. */
export function shown(
  make: (writers: { out(text: string): void; err(text: string): void }) => Sink,
  ...bodies: (EventBody & { at?: number })[]
) {
  let out = ''
  let err = ''
  const sink = make({
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
  })
  for (const event of events(...bodies)) sink.event(event)
  sink.close?.()
  return { out, err }
}

export const command = (id: string, host: string, display: string, quiet = false): EventBody => ({
  type: 'command.started',
  id,
  host,
  display,
  kind: 'write',
  quiet,
})
export const output = (id: string, host: string, text: string, quiet = false): EventBody => ({
  type: 'command.output',
  id,
  host,
  stream: 'stdout',
  text,
  quiet,
})
export const ended = (
  id: string,
  host: string,
  exitCode: number | null = 0,
  signal: string | null = null,
): EventBody => ({
  type: 'command.finished',
  id,
  host,
  exitCode,
  signal,
  durationMs: 1200,
})
