/** The way from events to what is shown and kept: scrubbed once, here, then handed to every sink. */
import type { Bus, Run, RunEvent } from '../events/index.ts'
import { createScrubber, type Scrubber } from '../events/scrub.ts'

/** Something that shows or keeps events. */
export interface Sink {
  event(event: RunEvent): void
  /** The run is over: nothing more will come. */
  close?(): void
}

/** Subscribes `sinks` to the run. Returns what ends it. */
export function connectSinks(run: Pick<Run, 'secrets'> & { bus: Bus }, sinks: readonly Sink[]): () => void {
  const scrubber = createScrubber(run.secrets)
  const off = run.bus.on((event) => {
    for (const clean of scrubEvent(scrubber, event)) for (const sink of sinks) sink.event(clean)
  })
  return () => {
    off()
    for (const sink of sinks) sink.close?.()
  }
}

/** An event without secrets. Output is a stream, so a command's end may first bring what was kept back of it. */
function scrubEvent(scrubber: Scrubber, event: RunEvent): RunEvent[] {
  if (event.type === 'command.output') {
    const text = scrubber.chunk(`${event.id} ${event.stream}`, event.text)
    // A busy command tells thousands of times a second, and seldom of a secret.
    if (text === event.text) return [event]
    return text === '' ? [] : [{ ...event, text }]
  }
  // So does a log that is followed.
  if (event.type === 'log.line') {
    const text = scrubber.text(event.text)
    return [text === event.text ? event : { ...event, text }]
  }
  const clean = scrubValue(scrubber, event) as RunEvent
  if (event.type !== 'command.finished') return [clean]
  const { id, host, at, run, task } = event
  const rests = (['stdout', 'stderr'] as const).flatMap((stream): RunEvent[] => {
    const text = scrubber.end(`${id} ${stream}`)
    const shared = { id, host, at, run, ...(task === undefined ? {} : { task }) }
    const result = event.result ? { result: true } : {}
    return text === '' ? [] : [{ type: 'command.output', stream, text, quiet: false, ...result, ...shared }]
  })
  return [...rests, clean]
}

function scrubValue(scrubber: Scrubber, value: unknown): unknown {
  if (typeof value === 'string') return scrubber.text(value)
  if (Array.isArray(value)) return value.map((each) => scrubValue(scrubber, each))
  if (typeof value !== 'object' || value === null) return value
  // A Secret, a Map or a Date inside a result shows as JSON would show it.
  const plain = Object.getPrototypeOf(value) === Object.prototype ? value : JSON.parse(JSON.stringify(value))
  if (typeof plain !== 'object' || plain === null) return scrubValue(scrubber, plain)
  if (Array.isArray(plain)) return scrubValue(scrubber, plain)
  return Object.fromEntries(
    Object.entries(plain).map(([key, each]) => [scrubber.text(key), scrubValue(scrubber, each)]),
  )
}
