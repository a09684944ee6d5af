/** Runs part of a test as a run, and keeps what it told. */
import { createRun, type Prompter, type RunEvent, type RunOptions, withRun } from '../../../src/events/index.ts'

export interface InRun {
  events: RunEvent[]
  abort: (reason?: unknown) => void
  of<T extends RunEvent['type']>(type: T): Extract<RunEvent, { type: T }>[]
}

export async function inRun<T>(
  options: RunOptions,
  fn: (told: InRun) => Promise<T>,
  setup: { prompter?: Prompter } = {},
): Promise<T> {
  const controller = new AbortController()
  const run = createRun({ options, signal: controller.signal, ...setup })
  const events: RunEvent[] = []
  run.bus.on((event) => events.push(event))
  const told: InRun = {
    events,
    abort: (reason) => controller.abort(reason),
    of: (type) => events.filter((event) => event.type === type) as never,
  }
  try {
    return await withRun(run, () => fn(told))
  } finally {
    await run.finish()
  }
}

/** What a promise rejects with; fails where it does not. */
export async function failure(promise: PromiseLike<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await promise
  } catch (error) {
    return error as Error & Record<string, unknown>
  }
  throw new Error('it did not fail')
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 5000): Promise<void> {
  const deadline = Date.now() + ms
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`it did not come true within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
