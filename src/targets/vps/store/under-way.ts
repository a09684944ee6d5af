/** The audit lines of a run that are being written: whoever reads the log waits for them. */
import { currentRun } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'

export interface UnderWay {
  last: Promise<void>
}

/** Those of `app` on `host`; the run's end waits for them. */
export function auditsUnderWay(host: Host, app: string): UnderWay {
  const run = currentRun()
  return run.memo(`audits of ${app} on ${host.name}`, () => {
    const underWay: UnderWay = { last: Promise.resolve() }
    run.defer(() => underWay.last)
    return underWay
  })
}
