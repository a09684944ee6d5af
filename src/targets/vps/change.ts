/**
 * A change to a deployment begins here: the host is asked which role the release has, and the deployment's lock is
 * taken, once a run. What `guard` holds goes first in every script that changes something.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { hostname, userInfo } from 'node:os'
import type { AuditLine, Lock, Owner } from '../../engine/types.ts'
import { currentRun, type Run, SlipwayError, withRun } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { Command, raw, sh } from '../../shell/index.ts'
import type { VpsContext } from './context.ts'
import { factsWith, type HostFacts, hostFacts, requireRelease } from './facts.ts'
import type { ReleaseLayout } from './layout.ts'
import { checkRole } from './roles.ts'
import { evenIfAborted } from './step.ts'

export interface ChangeOn {
  facts: HostFacts
  release: ReleaseLayout
  /** For `host.script`. */
  guard?: Command
}

/** Who is at work: the owner of locks, and who records name. */
export function owner(run: Run = currentRun(), command = 'tasks'): Owner {
  return { run: run.id, user: process.env['SLIPWAY_USER'] ?? userName(), machine: hostname(), command }
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    return process.env['USER'] ?? 'unknown'
  }
}

/**
 * The lock of a deployment on its home host; taken at a run's first change, released at its end. The facts of that host
 * are read with it, unless they are known.
 */
function lockOf(context: VpsContext, what: string): Promise<Lock> {
  const run = currentRun()
  const home = context.home()
  return run.memo(`vps lock ${context.deployment.name} ${home.name}`, async () => {
    const together = run.options.dryRun || run.options.step ? undefined : factsWith(context.deployment, home)
    try {
      const [{ vpsStore }, { auditsUnderWay }] = await Promise.all([
        import('./store/index.ts'),
        import('./store/under-way.ts'),
      ])
      const store = vpsStore(home, context.deployment.app.name)
      const send = together && ((script: string) => together.send('lock', sh`set +eu; ${raw(script)}`))
      const lock = await store.lockWith([context.deployment.name], owner(run, what), send)
      const audits = auditsUnderWay(home, context.deployment.app.name)
      run.defer(() =>
        withRun(run, () => Promise.all([evenIfAborted(() => lock.release()), audits.last])).then(() => {}),
      )
      return lock
    } catch (error) {
      together?.giveUp(error)
      throw error
    }
  })
}

/** Facts and lock for a change on `host`. Refuses where the host knows the release in another role. */
export async function beginChange(context: VpsContext, host: Host, what: string): Promise<ChangeOn> {
  // Asked for at the same time; what the facts forbid is said first.
  const locking = lockOf(context, what)
  locking.catch(() => {})
  const facts = await hostFacts(context.deployment, host)
  const release = requireRelease(context.deployment, facts, host)
  checkRole(context.deployment, release.name, facts.roles, host.name)
  const lock = await locking
  const guard = host.name === context.home().name && lock.guard ? new Command([{ text: lock.guard }]) : undefined
  return { facts, release, guard }
}

/** The current version of the release, or a SlipwayError that says what to type. */
export function requireVersion(change: Pick<ChangeOn, 'facts' | 'release'>, host: Host): string {
  if (change.facts.current !== undefined) return change.facts.current
  throw new SlipwayError('not-installed', `no version is installed in ${change.release.name} on ${host.name}`, {
    host: host.name,
    state: 'Nothing was changed.',
    next: 'Install one first: `tasks rsync_code install_app`.',
  })
}

/** Whether an audited change is under way here: its parts leave no lines of their own. */
const auditing = new AsyncLocalStorage<true>()

/** The line that says of an operation that all went well: whoever makes its last change can leave it in the same go. */
export interface AuditNote {
  /** The file, absolute, and the line. */
  entry(facts: HostFacts, commit?: string): [path: string, line: string]
  /** Set once it is there. */
  left: boolean
}

/**
 * A line in the host's audit log when `fn` has ended, however it did; of what another line tells when it went well,
 * `failures` alone. A failing audit never fails what it tells of.
 */
export async function audited<T>(
  context: VpsContext,
  what: string,
  fn: (note?: AuditNote) => Promise<T>,
  commit?: () => string | undefined,
  lines: 'all' | 'failures' = 'all',
): Promise<T> {
  if (auditing.getStore()) return fn()
  const run = currentRun()
  const line = (outcome: 'ok' | 'failed', detail?: string, head = commit?.()): AuditLine => ({
    at: new Date().toISOString(),
    run: run.id,
    who: `${owner(run).user}@${owner(run).machine}`,
    what,
    deployment: context.deployment.name,
    commit: head,
    outcome,
    detail,
  })
  const write = async (outcome: 'ok' | 'failed', detail?: string): Promise<void> => {
    if (run.options.dryRun) return
    const { auditMeanwhile } = await import('./store/audit.ts')
    const written = auditMeanwhile(context.home(), context.deployment.app.name, line(outcome, detail))
    // A failure is on record before it is told; so is each step that somebody approves.
    if (outcome === 'failed' || run.options.step) await written
  }
  const note: AuditNote = {
    left: false,
    entry: (facts, head) => [facts.app.audit, `${JSON.stringify(line('ok', undefined, head))}\n`],
  }
  try {
    // Of several hosts, none knows whether all went well.
    const value = await auditing.run(true, () => (context.hosts.size === 1 ? fn(note) : fn()))
    if (lines === 'failures') return value
    if (!note.left) await write('ok')
    if (!run.options.dryRun) tellChanged(context, what, commit?.())
    return value
  } catch (error) {
    const detail = (error as Error).message.split('\n')[0]
    await evenIfAborted(async () => {
      await write('failed', detail)
      await tell(context, 'failure', { head: commit?.(), detail: `${what}: ${detail}` })
    })
    throw error
  }
}

/** For the lines at the end of a run: what is different now, and where. */
function tellChanged({ deployment, hosts }: VpsContext, what: string, commit: string | undefined): void {
  for (const host of hosts) {
    const text = `${deployment.name}: ${what}${commit === undefined ? '' : ` of ${commit.slice(0, 10)}`}`
    currentRun().emit({ type: 'changed', host: host.name, what: text })
  }
}

/** Tells the configured webhooks of something that happened to the deployment. */
export async function tell(
  context: VpsContext,
  event: 'announce' | 'deploy' | 'promote' | 'rollback' | 'failure',
  facts: { head?: string; detail?: string } = {},
): Promise<void> {
  if (context.config.notifications.length === 0) return
  const { notify } = await import('../notify.ts')
  const { deployment } = context
  await notify(context.config, event, {
    user: owner().user,
    app: deployment.app.name,
    release: deployment.name,
    url: deployment.domain === undefined ? undefined : `https://${deployment.domain}/`,
    ...facts,
  })
}
