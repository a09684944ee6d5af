/** Faults on request: what goes wrong, for which calls, how often. */

export type Fault =
  | { kind: 'status'; status: number; id: string; message: string }
  | { kind: 'rate-limit' }
  /** The connection is closed before anything was done. */
  | { kind: 'refuse' }
  /** The call takes effect; its reply never arrives. */
  | { kind: 'lose-reply' }
  | { kind: 'delay'; ms: number }

interface Rule {
  method: string
  path: RegExp
  fault: Fault
  times: number
}

export interface Switches {
  /** Add-ons of these services stay `provisioning`. */
  stuckProvisioning: boolean
  /** Provisioning ends in `deprovisioned`. */
  failProvisioning: boolean
  failBuild: boolean
  failRelease: boolean
  /** Dynos of these types exit as soon as they start. */
  crashDynos: Set<string>
  /** Output and log streams are cut after so many bytes, once each. */
  cutStreamsAfter: number | undefined
  /** The reply to a git push is cut after so many bytes, once; its build goes on. */
  cutPushesAfter: number | undefined
  /** Log sessions end at once with 404: expired. */
  expireSessions: boolean
  /** The platform's clock against this machine's. */
  clockSkewMs: number
  /** The next transfer into a database. */
  failTransfers: 'no' | 'extensions' | 'error'
  /** Rendezvous sends the exit marker in pieces. */
  splitRendezvous: boolean
  /** text/plain, or server-sent events whatever was asked for. */
  logFormat: 'negotiate' | 'plain' | 'events'
  dynoQuota: number
  /** What a database's plan holds, in bytes. */
  planBytes: number
  /** The platform takes so long to mark a promoted release. */
  promotionDelayMs: number
}

export class Faults {
  readonly rules: Rule[] = []
  readonly on: Switches = {
    stuckProvisioning: false,
    failProvisioning: false,
    failBuild: false,
    failRelease: false,
    crashDynos: new Set(),
    cutStreamsAfter: undefined,
    cutPushesAfter: undefined,
    expireSessions: false,
    clockSkewMs: 0,
    failTransfers: 'no',
    splitRendezvous: false,
    logFormat: 'negotiate',
    dynoQuota: 100,
    planBytes: 1e9,
    promotionDelayMs: 0,
  }

  /** The next `times` calls that match get `fault`. */
  add(method: string, path: RegExp, fault: Fault, times = 1): void {
    this.rules.push({ method, path, fault, times })
  }

  take(method: string, path: string): Fault | undefined {
    const rule = this.rules.find((each) => each.times > 0 && each.method === method && each.path.test(path))
    if (!rule) return undefined
    rule.times -= 1
    return rule.fault
  }

  now(): Date {
    return new Date(Date.now() + this.on.clockSkewMs)
  }

  /** To the second, as the platform writes times. */
  timestamp(): string {
    return this.now()
      .toISOString()
      .replace(/\.\d+Z$/, 'Z')
  }
}
