/** What a change can fail with, by what the caller can do about it. */
import { type ErrorDetails, SlipwayError } from '../events/index.ts'
import type { LockInfo } from './types.ts'

/** Somebody else's lock, or an unfinished change, stands in the way. Nothing was changed. */
export class LockedError extends SlipwayError {
  override readonly name: string = 'LockedError'
  readonly holder: LockInfo

  constructor(holder: LockInfo, details: ErrorDetails = {}) {
    super(holder.journal ? 'unfinished-change' : 'locked', lockSentence(holder), {
      state: 'Nothing was changed by this run.',
      next: holder.journal
        ? `Finish it with --resume, or go back with --undo (${holder.journal}).`
        : `Wait for it, or, once you know that it is dead: tasks unlock:release=${holder.scope}`,
      ...details,
    })
    this.holder = holder
  }
}

/** A step failed, and what became of the change. */
export class StepFailedError extends SlipwayError {
  override readonly name: string = 'StepFailedError'
  readonly step: string
  readonly journal: string
  /** Whether everything that had been done was put back. */
  readonly undone: boolean

  constructor(step: string, journal: string, undone: boolean, message: string, details: ErrorDetails) {
    super('step-failed', message, details)
    this.step = step
    this.journal = journal
    this.undone = undone
  }
}

/** `pony2026r1 is locked by ann on laptop (tasks deploy_staging), since 10:15, for 3 minutes`. */
export function lockSentence(holder: LockInfo): string {
  const who = `${holder.user} on ${holder.machine} (${holder.command})`
  const age =
    holder.ageSeconds === undefined ? ', before the host was rebooted' : `, for ${duration(holder.ageSeconds)}`
  if (holder.journal) return `${holder.scope} has an unfinished change by ${who}, begun ${holder.since}`
  return `${holder.scope} is locked by ${who}, since ${holder.since}${age}`
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} seconds`
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes`
  return `${Math.round(seconds / 3600)} hours`
}
