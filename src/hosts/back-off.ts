import { setTimeout as delay } from 'node:timers/promises'
import { abortedBy } from '../events/errors.ts'

/** Waits `ms`. Rejects as soon as `signal` is aborted: an interrupted run tries nothing again. */
export async function backOff(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, signal ? { signal } : {})
  } catch (error) {
    throw signal?.aborted ? abortedBy(signal) : error
  }
}

/** `ms`, give or take half, so that many who wait do not come back at once. */
export const jittered = (ms: number): number => ms * (0.5 + Math.random())
