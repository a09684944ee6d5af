/** Faults on request: what goes wrong, for which calls, how often. */

export type Fault =
  | { kind: 'status'; status: number; id: string; message: string }
  | { kind: 'rate-limit' }
  /** The connection is closed before anything was done. */
  | { kind: 'refuse' }
  /** The call takes effect; its reply never arrives. */
  | { kind: 'lose-reply' }
  | { kind: 'delay'; ms: number }
  /** Nothing is done until then. */
  | { kind: 'hold'; until: Promise<unknown> }

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
  /** Log sessions are expired: new ones are 404 at once, those that are followed end within their next line. */
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

const calm = (): Switches => ({
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
})

/** Faults that users rehearse with, by name: `slipway sandbox up --heroku --fault failing-build`. */
export const namedFaults: Readonly<Record<string, { about: string; switchOn(faults: Faults): void }>> = {
  'rate-limit': {
    about: 'the next call is refused with 429',
    switchOn: (faults) => faults.add('GET', anyCall, { kind: 'rate-limit' }),
  },
  unavailable: {
    about: 'the next two reads are answered 503',
    switchOn: (faults) =>
      faults.add('GET', anyCall, { kind: 'status', status: 503, id: 'unavailable', message: 'Try again later.' }, 2),
  },
  'lost-replies': {
    about: 'the next two writes take effect, and their replies are lost',
    switchOn(faults) {
      for (const method of ['POST', 'PATCH']) faults.add(method, anyCall, { kind: 'lose-reply' })
    },
  },
  'stuck-provisioning': {
    about: 'add-ons stay "provisioning"',
    switchOn: ({ on }) => {
      on.stuckProvisioning = true
    },
  },
  'failed-provisioning': {
    about: 'add-ons end as "deprovisioned"',
    switchOn: ({ on }) => {
      on.failProvisioning = true
    },
  },
  'failing-build': {
    about: 'builds fail',
    switchOn: ({ on }) => {
      on.failBuild = true
    },
  },
  'failing-release': {
    about: 'release phases fail',
    switchOn: ({ on }) => {
      on.failRelease = true
    },
  },
  'crashing-dynos': {
    about: 'web dynos exit as soon as they start',
    switchOn: ({ on }) => on.crashDynos.add('web'),
  },
  'cut-streams': {
    about: 'the next output or log stream is cut after 60 bytes',
    switchOn: ({ on }) => {
      on.cutStreamsAfter = 60
    },
  },
  'cut-push': {
    about: 'the next git push loses its connection after 120 bytes; its build goes on',
    switchOn: ({ on }) => {
      on.cutPushesAfter = 120
    },
  },
  'expired-sessions': {
    about: 'log sessions are expired at once, followed ones too',
    switchOn: ({ on }) => {
      on.expireSessions = true
    },
  },
  'failing-transfer': {
    about: 'the next restore or copy of a database fails',
    switchOn: ({ on }) => {
      on.failTransfers = 'error'
    },
  },
  'missing-extension': {
    about: 'the next restore or copy misses an extension',
    switchOn: ({ on }) => {
      on.failTransfers = 'extensions'
    },
  },
  'small-plans': {
    about: 'database plans hold 1 MB',
    switchOn: ({ on }) => {
      on.planBytes = 1e6
    },
  },
  quota: {
    about: 'the account may run one dyno an app',
    switchOn: ({ on }) => {
      on.dynoQuota = 1
    },
  },
  'slow-promotions': {
    about: 'a promotion begins after ten seconds: time for Ctrl-C',
    switchOn: ({ on }) => {
      on.promotionDelayMs = 10_000
    },
  },
  'clock-skew': {
    about: "the platform's clock is ten minutes ahead",
    switchOn: ({ on }) => {
      on.clockSkewMs = 10 * 60_000
    },
  },
}

/** Calls of the API; the emulator's own paths begin with an underscore. */
const anyCall = /^\/(?!_)/

export class Faults {
  readonly rules: Rule[] = []
  readonly on: Switches = calm()

  /** These, by name, and no others from now on. Throws a RangeError on a name that there is not. */
  only(names: readonly string[]): void {
    const chosen = names.map((name) => {
      const fault = namedFaults[name]
      if (!fault) throw new RangeError(name)
      return fault
    })
    this.rules.length = 0
    Object.assign(this.on, calm())
    for (const { switchOn } of chosen) switchOn(this)
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
