/**
 * Restarts by the program of restart-program.ts, in one round trip. Only where a supervisord answers already and the
 * host has python3; whatever needs more (a first start, orphans, an app on a port) is done step by step from here.
 */
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import type { ChangeOn } from './change.ts'
import type { VpsContext } from './context.ts'
import { daemonSocket, programPrefix } from './daemon.ts'
import { restartProgram } from './restart-program.ts'

/** What the program is told, beside what every change has. Paths are absolute. */
export interface RestartPlan {
  drainSeconds: number
  /** A file that says that a reboot brings it back. */
  wanted?: string
  /** Of the server. */
  liveSlot?: 'a' | 'b'
  sockets?: Record<'a' | 'b', string>
  health?: { path: string; status: number; body?: string; deadlineMs: number }
  /** `release/version` that must answer. */
  expected?: string
  /** The site's socket, and what is written once it points at the new slot. */
  link?: string
  records?: [path: string, text: string][]
  /** A file, and the line that is added to it when all went well. */
  audit?: [path: string, line: string]
  /** Of the workers: what runs afterwards. */
  programs?: string[]
}

/** How it ended. What had to be given up is told here, and nothing of it was taken back. */
export type RestartOutcome =
  | { outcome: 'ok'; slot?: 'a' | 'b'; audited?: boolean }
  | { outcome: 'no-daemon' }
  | { outcome: 'unhealthy' | 'died' | 'not-running'; slot: 'a' | 'b'; why?: string }
  | { outcome: 'worker-failed'; bad: [name: string, state: string, detail: string][] }

type Refused =
  | { outcome: 'guard'; detail: string }
  | { outcome: 'silent' }
  | { outcome: 'not-stopped'; programs: string[]; seconds: number }
  | { outcome: 'not-ended'; programs: string[] }

type Told =
  | { begin: string }
  | { end: 'ok' | 'failed'; detail?: string | null }
  | { warning: string }
  | { note: string }
  | { done: RestartOutcome | Refused }

/** Whether the program can run here, in this run. */
export const canRestartOnHost = ({ deployment }: Pick<VpsContext, 'deployment'>, { facts }: ChangeOn): boolean =>
  deployment.services === 'supervisor' && facts.tools.python3 !== undefined && !currentRun().options.dryRun

/**
 * Runs the program; its steps are told as this run's. Rejects with a SlipwayError where the lock is lost or a process
 * can't be ended.
 */
export async function restartOnHost(
  context: Pick<VpsContext, 'deployment'>,
  host: Host,
  { release, guard }: ChangeOn,
  action: 'server' | 'workers',
  plan: RestartPlan,
): Promise<RestartOutcome> {
  const all = {
    ...plan,
    dir: release.dir,
    supervisor: daemonSocket(context, release),
    prefix: programPrefix(context, release),
    ...(guard ? { guard: guard.render() } : {}),
  }
  const running = host.run(sh`exec python3 -c ${restartProgram} ${action} ${JSON.stringify(all)}`, {
    quiet: true,
    label: action === 'server' ? 'restart the app server' : 'restart the workers',
  })
  const lines = createInterface({ input: running.stdout(), crlfDelay: Number.POSITIVE_INFINITY })
  let done: RestartOutcome | Refused | undefined
  let step: { id: string; begun: number } | undefined
  const run = currentRun()
  const close = (outcome: 'ok' | 'failed' | 'aborted', detail?: string) => {
    if (!step) return
    const durationMs = performance.now() - step.begun
    run.emit({ type: 'step.finished', id: step.id, outcome, durationMs, ...(detail ? { detail } : {}) })
    step = undefined
  }
  const read = (async () => {
    for await (const line of lines) {
      const told = JSON.parse(line) as Told
      if ('begin' in told) {
        step = { id: randomBytes(4).toString('hex'), begun: performance.now() }
        run.emit({ type: 'step.started', id: step.id, title: told.begin, host: host.name })
      } else if ('end' in told) close(told.end, told.detail ?? undefined)
      else if ('done' in told) done = told.done
      else if ('warning' in told) run.emit({ type: 'warning', host: host.name, text: told.warning })
      else run.emit({ type: 'note', host: host.name, text: told.note })
    }
  })()
  try {
    await Promise.all([running, read])
  } catch (error) {
    close(run.signal.aborted ? 'aborted' : 'failed')
    throw error
  }
  if (!done)
    throw new SlipwayError('restart-unfinished', `the restart on ${host.name} ended without a word`, {
      host: host.name,
    })
  return accepted(host, done)
}

function accepted(host: Host, done: RestartOutcome | Refused): RestartOutcome {
  switch (done.outcome) {
    case 'guard':
      throw new SlipwayError('guard-refused', `the check before the changes failed on ${host.name}`, {
        host: host.name,
        detail: done.detail,
        state: 'Nothing more was changed: the check comes first.',
        next: 'Look at `tasks audit`, and start again.',
      })
    case 'silent':
      throw new SlipwayError('supervisor-silent', `supervisord on ${host.name} is there, and does not answer`, {
        host: host.name,
        state: 'The programs it runs are left as they are: the app serves on.',
        next: `Look at it on the host (\`slipway ssh ${host.name}\`). Killed, it leaves its programs running, and a restart takes them over.`,
      })
    case 'not-stopped':
      throw new SlipwayError('not-stopped', `${done.programs.join(', ')} did not stop within ${done.seconds} s`, {
        host: host.name,
      })
    case 'not-ended':
      throw new SlipwayError('not-ended', `processes of ${done.programs.join(', ')} are left, even after a KILL`, {
        host: host.name,
      })
    default:
      return done
  }
}
