/** What is the same about locks wherever they are kept. */
import type { AuditLine, LockInfo, Owner } from './types.ts'

/** Whether the lock's owner was a process of this machine that is gone. Elsewhere nobody can tell. */
export function isDead(holder: LockInfo, owner: Owner): boolean {
  return holder.machine === owner.machine && holder.pid !== undefined && isGone(holder.pid)
}

/** Whether no process of this machine has that id. */
export function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** The line that says whose lock `by` broke. */
export const unlockedLine = (was: LockInfo, scope: string, by: Owner): AuditLine => ({
  at: new Date().toISOString(),
  run: by.run,
  who: by.user,
  what: `unlock ${scope}, held by ${was.user} on ${was.machine}`,
  deployment: scope,
  outcome: 'ok',
})
