/** Runs a part of a test as a run, and keeps what it told. */
import { createRun, type RunEvent, type RunOptions, SlipwayError, withRun } from '../../../src/events/index.ts'

export interface Told<T> {
  value: T
  events: RunEvent[]
}

export async function inRun<T>(
  fn: () => Promise<T>,
  setup: { options?: RunOptions; signal?: AbortSignal } = {},
): Promise<Told<T>> {
  const run = createRun(setup)
  const events: RunEvent[] = []
  run.bus.on((event) => events.push(event))
  try {
    return { value: await withRun(run, fn), events }
  } finally {
    await withRun(run, () => run.finish())
  }
}

/** The value alone. */
export const done = async <T>(fn: () => Promise<T>): Promise<T> => (await inRun(fn)).value

/** The error that `fn` fails with; fails where it does not. */
export async function failing(fn: () => Promise<unknown>): Promise<SlipwayError> {
  try {
    await done(fn)
  } catch (error) {
    if (error instanceof SlipwayError) return error
    throw error
  }
  throw new Error('it did not fail')
}
