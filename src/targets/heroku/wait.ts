/** Waiting for something on the platform: short pauses first, longer ones later, until a deadline or an abort. */
import { currentRun, throwIfAborted } from '../../events/run.ts'

/** Resolves after `ms`, or rejects at once when `signal` (the run's unless given) is aborted. */
export async function pause(ms: number, signal: AbortSignal = currentRun().signal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
  if (signal === currentRun().signal) throwIfAborted(currentRun())
}

export interface WaitOptions {
  deadlineMs: number
  /** The longest pause between two looks. Default 2 s */
  maxPauseMs?: number
  /** What to throw when the deadline passes. */
  late: () => Error | Promise<Error>
}

/** Calls `look` until it resolves with something else than undefined. */
export async function waitFor<T>(look: () => Promise<T | undefined>, options: WaitOptions): Promise<T> {
  const deadline = Date.now() + options.deadlineMs
  let pauseMs = 100
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() + pauseMs > deadline) throw await options.late()
    await pause(pauseMs)
    pauseMs = Math.min(pauseMs * 1.5, options.maxPauseMs ?? 2000)
  }
}
