/** The audit lines of a run that are being written: whoever reads the log waits for them. */
import { currentRun } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'

export interface UnderWay {
  last: Promise<void>
}

export const auditsUnderWay = (host: Host, app: string): UnderWay =>
  currentRun().memo(`audits of ${app} on ${host.name}`, (): UnderWay => ({ last: Promise.resolve() }))
