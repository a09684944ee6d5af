/** Which cases there are: every fault at every step, before, in the midst of and after its action, resumed and undone. Pure. */
import { type FaultName, faults } from './inject.ts'

export const groundNames = ['sockets', 'reads', 'ports', 'postgres', 'mysql', 'handover', 'elsewhere'] as const
export type GroundName = (typeof groundNames)[number]
export type When = 'before' | 'during' | 'after'

export interface Case {
  ground: GroundName
  step: string
  when: When
  fault: FaultName
  /** What the operator does then. */
  round: 'resume' | 'undo'
}

/** Names a case in the file of results. */
export const keyOf = ({ ground, step, when, fault, round }: Case): string =>
  [ground, step, when, fault, round].join(' ')

const before = [
  'stop-staging-workers',
  'detach-staging',
  'stop-staging',
  'end-staging-supervisord',
  'archive-staging',
  'settings',
  'rehearse',
  'trial',
]
const window = [
  'arm',
  'drain-workers',
  'hold',
  'stop-old',
  'fence',
  'copy',
  'migrate',
  'start-new',
  'gate',
  'flip',
  'let-go',
  'roles',
  'start-workers',
  'retire-old',
  'disarm',
]
const after = ['tidy', 'outside']

/** The steps of the window, wherever they are done. */
const windowSteps = [
  ...window,
  ...['close', 'let-in', 'read-live', 'read-snapshots', 'end-reading', 'fence-servers', 'copy-servers', 'hand-over'],
]
export const isInWindow = (step: string): boolean => windowSteps.includes(step)

const onServers = ['rehearse-servers', 'trial', 'drop-rehearsal', 'fence-servers', 'copy-servers', 'migrate', 'flip']
const there = (names: string[]) => names.map((name) => `${name}@rides-worker`)

/** The steps of each kind of app; of the others, those that the first has not, or has otherwise. */
const steps: Record<GroundName, string[]> = {
  sockets: [...before, ...window, ...after],
  reads: ['read-live', 'hold', 'stop-old', 'fence', 'read-snapshots', 'copy', 'flip', 'let-go', 'end-reading'],
  ports: ['close', 'hold', 'stop-old', 'let-in', 'copy', 'flip', 'roles', 'attach', 'end-relay'],
  postgres: [...onServers, 'keep-servers'],
  mysql: [...onServers, 'keep-servers'],
  handover: ['rehearse-servers', 'trial', 'drop-rehearsal', 'hand-over', 'migrate', 'start-new', 'flip'],
  elsewhere: [
    ...there(['mark', 'stop-staging-workers', 'end-staging-supervisord', 'settings', 'drain-workers']),
    'hold',
    'copy-servers',
    'flip',
    ...there(['roles', 'start-workers', 'retire-old', 'unmark']),
  ],
}

/**
 * How far into a step its midst is, in milliseconds: about a third of what it takes where nothing else runs. What is
 * not here is over as soon as it began, or is done from the operator's machine.
 */
const midst: Record<string, number> = {
  'stop-staging-workers': 150,
  'stop-staging': 150,
  'end-staging-supervisord': 150,
  rehearse: 150,
  trial: 300,
  'rehearse-servers': 200,
  'drop-rehearsal': 50,
  'drain-workers': 10,
  'read-live': 100,
  hold: 20,
  'stop-old': 20,
  'read-snapshots': 100,
  copy: 60,
  'fence-servers': 100,
  'copy-servers': 150,
  'hand-over': 150,
  migrate: 30,
  'start-new': 30,
  gate: 15,
  'let-go': 60,
  'end-reading': 50,
  'start-workers': 10,
  'retire-old': 40,
  'keep-servers': 50,
  'drain-workers@rides-worker': 300,
  'start-workers@rides-worker': 300,
}
export const midstOf = (step: string): number | undefined => midst[step]

export function allCases(): Case[] {
  const cases: Case[] = []
  for (const [ground, names] of Object.entries(steps) as [GroundName, string[]][]) {
    for (const step of names) {
      for (const when of ['before', 'during', 'after'] as const) {
        if (when === 'during' && midstOf(step) === undefined) continue
        for (const fault of faults) {
          if (fault.window && !isInWindow(step)) continue
          if (fault.name === 'kill-holder' && !isHeld(ground, step, when)) continue
          // The server's files are elsewhere.
          if (fault.name === 'disk-full' && !['sockets', 'reads', 'ports'].includes(ground)) continue
          for (const round of ['resume', 'undo'] as const) cases.push({ ground, step, when, fault: fault.name, round })
        }
      }
    }
  }
  return cases
}

/** Whether requests wait there. */
function isHeld(ground: GroundName, step: string, when: When): boolean {
  // On ports from when the old app is gone until nothing comes to its port any more.
  if (ground === 'ports') return !['close', 'hold', 'stop-old', 'end-relay'].includes(step)
  if (['fence-servers', 'copy-servers', 'hand-over', 'read-snapshots'].includes(step)) return true
  const index = window.indexOf(step)
  return (step === 'hold' && when === 'after') || (index > window.indexOf('hold') && index <= window.indexOf('flip'))
}

/** The steps in which most is at stake, those first. */
const danger = [
  'hold',
  'stop-old',
  'fence',
  'fence-servers',
  'hand-over',
  'read-live',
  'read-snapshots',
  'copy',
  'copy-servers',
  'migrate',
  'start-new',
  'gate',
  'flip',
  'let-go',
]
const faultOrder: FaultName[] = [
  'kill-tool',
  'cut-connection',
  'kill-script',
  'kill-app',
  'kill-nginx',
  'kill-supervisord',
  'kill-holder',
  'disk-full',
  'kill-script-and-guard',
]

/**
 * The order in which a run that may be cut short does the most good: every fault at every step once, the most
 * dangerous first, each time at another moment and taken back or resumed in turn; then what is left of them.
 */
export function byDanger(cases: readonly Case[]): Case[] {
  const seen = new Map<string, number>()
  const ranked = cases.map((test) => {
    const turn = turnOf(test)
    const place = danger.indexOf(test.step)
    return { test, turn, rank: [turn, faultOrder.indexOf(test.fault), place < 0 ? danger.length : place] }
  })
  function turnOf(test: Case): number {
    const siblings = cases.filter(
      (each) => each.ground === test.ground && each.step === test.step && each.fault === test.fault,
    )
    const name = `${test.ground} ${test.step} ${test.fault}`
    const at = seen.get(name) ?? 0
    seen.set(name, at + 1)
    // Another one is first at each step and fault, the same in every run.
    const first = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7) % siblings.length
    return (at + siblings.length - first) % siblings.length
  }
  return ranked
    .sort((one, other) => {
      const at = one.rank.findIndex((value, index) => value !== other.rank[index])
      return at < 0 ? 0 : (one.rank[at] as number) - (other.rank[at] as number)
    })
    .map(({ test }) => test)
}
