/** Audit lines on their way to a host: what they tell of is over, and the run goes on while they are written. */
import type { AuditLine } from '../../../engine/types.ts'
import { currentRun, scoped, withRun } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { vpsStore } from './index.ts'
import { auditsUnderWay } from './under-way.ts'

/** How long a line may take after an interrupt, milliseconds. */
const deadlineMs = 30_000

/**
 * Writes `line`, after those before it; the run's end waits for it, whatever became of the run. Never rejects: a line
 * that can't be written is a warning.
 */
export function auditMeanwhile(host: Host, app: string, line: AuditLine): Promise<void> {
  const run = currentRun()
  const underWay = auditsUnderWay(host, app)
  const write = async () => {
    try {
      const signal = AbortSignal.timeout(deadlineMs)
      await withRun(scoped(run, { signal }), () => vpsStore(host, app).audit(line))
    } catch (error) {
      run.emit({ type: 'warning', text: `the audit log could not be written: ${(error as Error).message}` })
    }
  }
  const before = underWay.last
  underWay.last = before.then(write)
  return underWay.last
}
