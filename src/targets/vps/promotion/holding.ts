/** The steps from holding requests to letting them go: at nginx's socket, or at the port of an app on ports. Pure. */
import type { PromotionFacts, Side } from './facts.ts'
import type { Places, StepSpec } from './spec.ts'

export type SocketOf = (side: Side) => string

const maintenance = (facts: PromotionFacts, places: Places): string =>
  `${places.site}/${facts.reads ? 'writes.off' : 'maintenance.on'}`
const closes = (facts: PromotionFacts): boolean =>
  facts.lead === undefined ? !facts.hold : facts.lead.provider === 'nginx'

/** Apps on ports: whether requests wait at the port that the old one has, and are relayed from there. */
export const holdsPort = ({ lead, old, data }: PromotionFacts): boolean =>
  lead !== undefined && old?.port !== undefined && data === 'copy'

/** Before the old app is stopped. */
export function holding(facts: PromotionFacts, places: Places, old: Side, socketOf: SocketOf): StepSpec[] {
  const steps: StepSpec[] = []
  if (closes(facts)) {
    steps.push({
      id: 'close',
      kind: 'close',
      title: `have ${facts.domain} answer ${facts.reads ? 'writes ' : ''}503 with Retry-After${facts.lead && facts.hold ? ', until requests can wait' : ''}`,
      undoTitle: 'open it again',
      file: maintenance(facts, places),
    })
  }
  if (facts.lead) {
    steps.push({
      id: 'hold',
      kind: 'hold-port',
      title: facts.hold
        ? `have requests wait at port ${old.port} as soon as ${old.release} lets go of it: ${facts.backlog} at most, ${facts.deadline} s at most; those of that moment, and those that wait if all goes back, are refused`
        : `answer 503 with Retry-After at port ${old.port} as soon as ${old.release} lets go of it; those of that moment are refused`,
      undoTitle: 'leave the port',
      socket: socketOf(old),
      ...(facts.hold ? {} : { refuse: 30 }),
      backlog: facts.backlog,
      seconds: facts.deadline,
    })
  } else if (facts.hold) {
    steps.push({
      id: 'hold',
      kind: 'hold',
      title: `hold ${facts.reads ? 'writes' : 'requests'} to ${facts.domain}: they wait, ${facts.backlog} at most, ${facts.deadline} s at most`,
      undoTitle: `let them go to ${old.release}`,
      link: `${places.site}/current.sock`,
      socket: `${places.folder}/hold.sock`,
      backlog: facts.backlog,
      seconds: facts.deadline,
    })
  }
  return steps
}

/** Once the old app has stopped: requests may come, and wait at its port. */
export function lettingIn(facts: PromotionFacts, places: Places): StepSpec[] {
  if (!facts.lead || !facts.hold || !closes(facts)) return []
  return [
    {
      id: 'let-in',
      kind: 'open',
      title: `open ${facts.domain} again: requests wait`,
      close: 'close',
      file: maintenance(facts, places),
    },
  ]
}

/** After the flip. At ports, the flip is the letting go. */
export function lettingGo(facts: PromotionFacts, places: Places, socketOf: SocketOf): StepSpec[] {
  if (facts.lead ? closes(facts) && !facts.hold : !facts.hold) {
    return [
      {
        id: 'open',
        kind: 'open',
        title: `open ${facts.domain} again`,
        close: 'close',
        file: maintenance(facts, places),
      },
    ]
  }
  if (facts.lead) return []
  return [
    {
      id: 'let-go',
      kind: 'let-go',
      title: `let the requests that wait go to ${facts.next.release}`,
      hold: 'hold',
      socket: socketOf(facts.next),
    },
  ]
}

/** Apps on ports: the domain is led to the new one, which the old port's requests reach already. */
export function leading(facts: PromotionFacts): StepSpec[] {
  const { lead, next, old, domain } = facts
  if (!lead) return []
  const { before } = lead
  return [
    {
      id: 'attach',
      kind: 'attach',
      title: `lead ${domain} to ${lead.app} at ${lead.provider}, if it still leads to ${before?.app ?? 'nothing'}; wait until it does. Its certificates stay where they are`,
    },
    ...(holdsPort(facts)
      ? [
          {
            id: 'end-relay',
            kind: 'end-relay',
            title: `stop relaying from port ${old?.port} to ${next.port}, once nothing comes there`,
            hold: 'hold',
            seconds: 60,
          },
        ]
      : []),
  ]
}
