/** For testing one's own task file: runs whose events are kept, and hosts that record and answer. */
import '../only-copy.ts'
import { createRun, type RunEvent, type RunOptions, withRun } from '../events/index.ts'

export interface Recording<T> {
  result: T
  events: RunEvent[]
}

/** Runs `fn` as a run of its own, with nothing shown; resolves with its result and everything it told. */
export async function recordRun<T>(fn: () => T | PromiseLike<T>, options: RunOptions = {}): Promise<Recording<T>> {
  const events: RunEvent[] = []
  const run = createRun({ options })
  run.bus.on((event) => events.push(event))
  try {
    return { result: await withRun(run, async () => await fn()), events }
  } finally {
    await withRun(run, () => run.finish())
  }
}
