/** The versions of a release: listed, gone back to, cleared away. */
import { currentRun, SlipwayError } from '../../events/index.ts'
import { ScriptError } from '../../hosts/errors.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import type { Version } from '../deployment.ts'
import { audited, beginChange, type ChangeOn, requireVersion, tell } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { forgetFacts, hostFacts, noteFacts, requireRelease } from './facts.ts'
import { inVersion } from './install.ts'
import type { ReleaseLayout } from './layout.ts'
import { switchCurrent } from './live.ts'
import { appliedBefore, appliedFile, appliedNames, djangoTimes, listCommand, reversal } from './migrations.ts'
import { restartServer } from './restart.ts'
import { evenIfAborted, lostDuring } from './step.ts'
import { removeVersion } from './upload.ts'
import { asVersion, prunable, rollbackTarget, type VersionRecord } from './version.ts'
import { workersOf } from './workers.ts'

/** Newest first. */
export async function versions(context: VpsContext): Promise<Version[]> {
  const host = context.home()
  const facts = await hostFacts(context.deployment, host)
  requireRelease(context.deployment, facts, host)
  return facts.records.map((record) => asVersion(record, facts.current))
}

/** To the version that was live before, or `to`; restarts server and workers. `migrate`: the schema goes back too. */
export async function rollback(
  context: VpsContext,
  options: { to?: string; migrate?: boolean } = {},
): Promise<Version> {
  const home = context.home()
  const facts = await hostFacts(context.deployment, home)
  requireRelease(context.deployment, facts, home)
  const incomplete = await incompleteOn(context, facts.records)
  const whole = facts.records.filter(({ id }) => !incomplete.has(id))
  const target = rollbackTarget(options.to === undefined ? whole : facts.records, facts.current, options.to)
  const lacking = incomplete.get(target.id)
  if (lacking) throw versionGone(context, lacking, target)
  const goBack = async () => {
    if (options.migrate) await rollbackWithSchema(context, target)
    else await switchTo(context, target)
    await tell(context, 'rollback', { head: target.commit ?? target.id })
    return { ...asVersion(target, target.id), state: 'live' as const }
  }
  return audited(context, `rollback to ${target.id}`, goBack, () => target.commit)
}

/** Of these, the versions whose code a host has no more, and which: a prune that began to remove one takes its folder first. */
async function incompleteOn(
  { deployment, hosts }: VpsContext,
  records: readonly VersionRecord[],
): Promise<Map<string, Host>> {
  const incomplete = new Map<string, Host>()
  await onEach(hosts, async (host) => {
    const facts = await hostFacts(deployment, host)
    requireRelease(deployment, facts, host)
    for (const { id } of records) if (!facts.folders.includes(id)) incomplete.set(id, host)
  })
  return incomplete
}

function versionGone({ deployment }: VpsContext, host: Host, { id }: VersionRecord): SlipwayError {
  return new SlipwayError('version-gone', `the code of ${id} is not there any more on ${host.name}`, {
    host: host.name,
    state: 'Nothing was changed; the app runs on.',
    next: `Go back to another one: \`tasks versions:release=${deployment.name}\`; or clear its record away: \`tasks prune:release=${deployment.name}\`.`,
  })
}

async function switchTo(context: VpsContext, target: VersionRecord): Promise<void> {
  try {
    await onEach(context.hosts, (host) => switchOn(context, host, target))
    await restartServer(context)
    if (Object.keys(context.deployment.app.workers).length > 0) await workersOf(context).restart()
  } catch (error) {
    // Whichever of it the line was lost in, the same is true, and the same is to be done.
    throw lostDuring(
      error,
      `The current version is ${target.id}, or as it was; the app goes on with the one that it runs.`,
      `When the host can be reached, look at \`tasks versions\`: roll back again, or have it run with \`tasks restart_app:release=${context.deployment.name}\`.`,
    )
  }
}

async function switchOn(context: VpsContext, host: Host, target: VersionRecord): Promise<void> {
  const { facts, release, guard } = await beginChange(context, host, `rollback ${context.deployment.name}`)
  await host.script(
    [
      {
        name: 'its start script',
        command: sh`[ ! -f ${release.versionStart(target.id)} ] || cp -p ${release.versionStart(target.id)} ${release.start}`,
      },
      { name: `current → ${target.id}`, command: switchCurrent(release, target.id) },
    ],
    { guard },
  )
  await noteFacts(context.deployment, host, { current: target.id, records: facts.records })
}

/**
 * Takes the schema back with the current code, which alone knows how, while the site is in maintenance and the workers
 * stand still; then switches. A backup is taken first.
 */
async function rollbackWithSchema(context: VpsContext, target: VersionRecord): Promise<void> {
  const run = currentRun()
  const { app, name } = context.deployment
  const host = context.role('database').first()
  const change = await beginChange(context, host, `rollback ${name}`)
  const { release, guard } = change
  const current = requireVersion(change, host)
  const commands = await reversalOf(context, host, change, current, target)
  if (commands.length === 0) {
    run.emit({ type: 'note', host: host.name, text: 'the schema is the same in both versions: nothing to take back' })
    return switchTo(context, target)
  }
  for (const command of commands) run.emit({ type: 'note', host: host.name, text: `takes the schema back: ${command}` })
  const { maintenanceOf } = await import('./maintenance.ts')
  await maintenanceOf(context).during(async () => {
    let backup: string | undefined
    if (Object.keys(app.databases).length > 0) {
      const { takeBackup } = await import('./database/backup.ts')
      backup = (await takeBackup(context, host, change))?.id
    }
    const workers = Object.keys(app.workers).length > 0 ? workersOf(context) : undefined
    const ran = (await workers?.status())?.some((each) => /^(running|starting)$/.test(each.state))
    try {
      await workers?.stop()
      await host.script(
        commands.map((command) => ({ name: command, command: inVersion(release, current, command) })),
        { guard },
      )
    } catch (error) {
      // The version that runs goes on, with its workers as they were.
      if (ran) {
        await evenIfAborted(async () => workers?.start()).catch((other: Error) => {
          run.emit({ type: 'warning', host: host.name, text: `its workers stand still: ${other.message}` })
        })
      }
      throw reversalFailed(error, context, current, backup)
    }
    await switchTo(context, target)
  })
}

function reversalFailed(error: unknown, context: VpsContext, current: string, backup: string | undefined): unknown {
  const { name } = context.deployment
  const state = `The app goes on with ${current}; the schema may be taken back, in part or not at all.`
  const again =
    backup === undefined
      ? 'Roll back again.'
      : `Roll back again; or have the data as it was: \`tasks restore_db:release=${name},backup=${backup}\`.`
  const lost = lostDuring(error, state, `When the host can be reached: ${again}`)
  if (lost !== error || !(error instanceof ScriptError) || error.step === undefined) return lost
  return new SlipwayError(
    'reversal-failed',
    `the schema could not be taken back on ${error.host}: ${error.step.name}`,
    {
      host: error.host,
      cause: error,
      detail: error.detail,
      state,
      next: `Correct what it says. ${again}`,
    },
  )
}

/** What takes the schema back to how it was with `target`. Rejects where that can't be told. */
export async function reversalOf(
  context: VpsContext,
  host: Host,
  { facts, release }: Pick<ChangeOn, 'facts' | 'release'>,
  current: string,
  target: VersionRecord,
): Promise<string[]> {
  const { migrations } = context.deployment.app
  const list = listCommand(migrations)
  if (list === undefined) {
    throw new SlipwayError(
      'no-migrations',
      `${context.config.file} does not say how migrations are listed and reversed`,
      {
        state: 'Nothing was changed.',
        next: 'Set [app] migrations, or roll back without migrate.',
      },
    )
  }
  const answers = await host.probes({
    before: sh`cat ${appliedFile(release, target.id)}`,
    now: inVersion(release, current, list),
  })
  const then =
    answers.before.exitCode === 0
      ? appliedNames(answers.before.stdout)
      : migrations === 'django'
        ? await djangoThen(host, release, current, target, facts.records)
        : undefined
  if (then === undefined || answers.now.exitCode !== 0) {
    throw new SlipwayError('migrations-unknown', `it is not known which migrations were applied with ${target.id}`, {
      host: host.name,
      detail: answers.now.stderr.trim() || undefined,
      state: 'Nothing was changed.',
      next: `Take the schema back by hand with \`tasks run:release=${context.deployment.name} -- …\`, then roll back without migrate.`,
    })
  }
  return reversal(migrations, then, appliedNames(answers.now.stdout))
}

/** For a version of which no list was kept: what Django had applied before the next version came. */
async function djangoThen(
  host: Host,
  release: ReleaseLayout,
  current: string,
  target: VersionRecord,
  records: readonly VersionRecord[],
): Promise<string[] | undefined> {
  const next = records.filter((each) => each.id > target.id).sort((one, other) => (one.id < other.id ? -1 : 1))[0]
  if (!next) return undefined
  const times = await host.run(inVersion(release, current, djangoTimes), { kind: 'probe', quiet: true, nothrow: true })
  if (times.exitCode !== 0) return undefined
  currentRun().emit({
    type: 'note',
    host: host.name,
    text: `no list of migrations was kept with ${target.id}: what was applied before ${next.at} counts as its own`,
  })
  return appliedBefore(times.stdout, Date.parse(next.at))
}

/** Removes old versions from every host; never the current one or the one before. Returns the ids removed. */
export async function prune(context: VpsContext, options: { keep?: number } = {}): Promise<string[]> {
  const removed = new Set<string>()
  await audited(context, 'prune', () =>
    onEach(context.hosts, async (host) => {
      const change = await beginChange(context, host, `prune ${context.deployment.name}`)
      const { facts, guard } = change
      const ids = prunable(facts.records, facts.current, options.keep ?? context.deployment.app.keepVersions)
      if (ids.length === 0) return
      await host
        .script(
          ids.map((id) => ({ name: `remove ${id}`, command: removeVersion(change, id) })),
          { guard },
        )
        .catch((error: unknown) => {
          throw pruneFailed(error, context.deployment.name)
        })
      forgetFacts(context.deployment, host)
      for (const id of ids) removed.add(id)
    }),
  )
  if (removed.size === 0) currentRun().emit({ type: 'note', text: 'nothing to remove' })
  return [...removed]
}

function pruneFailed(error: unknown, deployment: string): unknown {
  const state =
    'The app runs on, and its version and the one before are there. Of the others some may be gone; one that is not there whole can not be gone back to.'
  const lost = lostDuring(
    error,
    state,
    `When the host can be reached, prune again: \`tasks prune:release=${deployment}\`.`,
  )
  if (lost !== error || !(error instanceof ScriptError) || error.step === undefined) return lost
  return new SlipwayError('prune-failed', error.message, {
    host: error.host,
    cause: error,
    detail: error.detail,
    state,
    next: `Correct what it says, and prune again: \`tasks prune:release=${deployment}\`.`,
  })
}
