/** What is said before a promotion, and what refuses it. Pure. */
import { SlipwayError } from '../../../events/index.ts'
import { type Gathered, leastDeadline, type PromotionFacts, reserveSeconds } from './facts.ts'
import { placesOf } from './spec.ts'

/** A cautious guess before the rehearsal measures it: reading, comparing and checking the databases, then a start. */
function guessedWindowSeconds({ facts, measures }: Gathered): number {
  if (facts.data !== 'copy') return 0
  const bytes = Object.values(measures.bytes).reduce((sum, each) => sum + each, 0)
  return 1 + bytes / 300e6
}

/** Connections that will wait at once: those that come in the guessed window, unless the operator knows better. */
function expectedConnections(gathered: Gathered, given: number | undefined): number {
  return given ?? Math.ceil(gathered.measures.requestsPerSecond * guessedWindowSeconds(gathered))
}

/** The lines below a plan. */
export function notesOf(gathered: Gathered, connections?: number): string[] {
  const { facts, measures } = gathered
  const { adopt } = facts
  const holds = facts.hold && !adopt
  const sizes = Object.entries(measures.bytes).map(([name, bytes]) => `${name} ${size(bytes)}`)
  const queued = Object.entries(measures.queued).map(([name, count]) => `${count} in ${name}`)
  return [
    ...(sizes.length > 0 ? [`data: ${sizes.join(', ')}; free: ${size(measures.freeBytes)}`] : []),
    ...(queued.length > 0 ? [`spooled now: ${queued.join(', ')}`] : []),
    ...(facts.data === 'copy' && facts.old
      ? [
          `writes wait for about ${guessedWindowSeconds(gathered).toFixed(1)} s by the sizes; the rehearsal measures it`,
          holds
            ? `requests that come then: about ${expectedConnections(gathered, connections)}; room for ${facts.backlog}`
            : `requests that come then: about ${expectedConnections(gathered, connections)}; ${adopt ? 'whoever leads the domain to it now answers them, with an error' : 'they are answered 503'}`,
        ]
      : []),
    ...(facts.data === 'fresh' && facts.old
      ? [`the data of ${facts.old.release} stays with it: ${facts.next.release} begins with new databases`]
      : []),
    ...(facts.lead ? facts.lead.calls.map((call) => `at ${facts.lead?.provider}: ${call}`) : []),
    facts.site.certificates.length > 0
      ? `certificates stay where they are: ${facts.site.certificates.join(', ')}`
      : 'the site and its certificates stay as they are: only what it points at changes',
    ...(facts.next.sends === undefined
      ? ['the app sends no X-Release header: which version answers can not be checked']
      : []),
  ]
}

/** The longest path that a unix socket can have on Linux. */
const longestSocket = 107
/** A change's id, and what the socket's name is longer by until it listens: `.` and three digits. */
const idForm = '20261127T101500-abcd'
const besideRoom = 4

/** Why it can't be done now. */
export function refusals(gathered: Gathered, connections?: number): SlipwayError[] {
  const { facts, measures } = gathered
  const host = facts.host
  const found: SlipwayError[] = []
  if (facts.site.gateToken === undefined && !facts.lead && facts.provider !== 'none') {
    found.push(
      new SlipwayError(
        'no-gate',
        `the site of ${facts.production} has no way for the check before requests are let in`,
        {
          host,
          state: 'Nothing was changed.',
          next: 'Write the site again: `tasks setup_host`.',
        },
      ),
    )
  }
  if (measures.freeBytes < measures.wantedBytes) {
    found.push(
      new SlipwayError(
        'disk-full',
        `${size(measures.wantedBytes)} are needed for the copies, and ${size(measures.freeBytes)} are free`,
        {
          host,
          state: 'Nothing was changed.',
          next: 'Make room: `tasks prune`, `tasks prune_promotions`.',
        },
      ),
    )
  }
  const socket = `${placesOf(facts, idForm).folder}/hold.sock`
  const tooLong = Buffer.byteLength(socket) + besideRoom - longestSocket
  if (facts.hold && facts.old && !facts.adopt && !facts.lead && tooLong > 0) {
    found.push(
      new SlipwayError(
        'hold-socket-path',
        `requests wait at a socket in ${facts.home}/.slipway/${facts.app}, whose path is ${tooLong} bytes too long`,
        {
          host,
          state: 'Nothing was changed.',
          next: 'Give the account a shorter home or the app a shorter name, or add close=true: requests are answered 503 meanwhile.',
        },
      ),
    )
  }
  const { timeoutSeconds } = facts.site
  if (
    facts.data === 'copy' &&
    facts.old &&
    facts.hold &&
    !facts.adopt &&
    timeoutSeconds < leastDeadline + reserveSeconds
  ) {
    found.push(
      new SlipwayError(
        'hold-timeout',
        `the site of ${facts.production} gives an answer ${timeoutSeconds} s, and requests may have to wait for ${leastDeadline + reserveSeconds} s, should all go back`,
        {
          host,
          state: 'Nothing was changed.',
          next: 'Raise proxy_read_timeout and proxy_send_timeout in the site, or add close=true: requests are answered 503 meanwhile.',
        },
      ),
    )
  }
  const expected = expectedConnections(gathered, connections)
  if (facts.data === 'copy' && facts.old && facts.hold && expected > facts.backlog) {
    found.push(
      new SlipwayError('backlog', `about ${expected} requests would wait, and there is room for ${facts.backlog}`, {
        host,
        state: 'Nothing was changed.',
        next: 'Raise net.core.somaxconn on the host (4096 is usual), or promote at a quieter time.',
      }),
    )
  }
  return found
}

/** Once the trial has measured it: requests would wait until the deadline, and then all would go back. */
export function refuseTooLong(facts: PromotionFacts, predictedMs: number): void {
  if (!facts.hold || facts.adopt || predictedMs <= facts.deadline * 1000) return
  const text = `requests would wait for about ${Math.round(predictedMs / 1000)} s, and can for ${facts.deadline} s`
  throw new SlipwayError('window-too-long', text, {
    host: facts.host,
    state: 'No request was held.',
    next: 'Raise proxy_read_timeout and proxy_send_timeout in the site (60 s give 45), or add close=true: requests are answered 503 meanwhile.',
  })
}

export function size(bytes: number): string {
  if (!Number.isFinite(bytes)) return 'unknown'
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)))
  const value = bytes / 1000 ** power
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`
}
