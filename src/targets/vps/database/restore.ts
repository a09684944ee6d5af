/** Other data in the place of a deployment's: backed up before, the app stopped meanwhile, nothing lost. */
import { randomBytes } from 'node:crypto'
import { currentRun, OutcomeUnknownError, restated, SlipwayError, UsageError } from '../../../events/index.ts'
import { ScriptError } from '../../../hosts/errors.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import { audited, beginChange, type ChangeOn } from '../change.ts'
import type { VpsContext } from '../context.ts'
import { findDaemon } from '../daemon.ts'
import { inVersion, migrateSteps, recordMigrations } from '../install.ts'
import { serverOf } from '../server.ts'
import { evenIfAborted, inStep, lostDuring } from '../step.ts'
import { isUp } from '../supervisor.ts'
import { workersOf } from '../workers.ts'
import { migrationFailed } from './app-commands.ts'
import { findBackup, takeBackup } from './backup.ts'
import { engineFor, explained, serversOn } from './engines.ts'
import { databaseHost } from './index.ts'
import type { ServerDatabase } from './servers.ts'
import { watching } from './watch.ts'

/** Restores backup `id`. Production is asked for by its name, and is backed up before. */
export async function restore(context: VpsContext, id: string): Promise<void> {
  const host = databaseHost(context)
  const manifest = await findBackup(context, id)
  await confirmOver(context, `the backup ${manifest.id}, taken ${manifest.at} of ${manifest.release}`)
  const change = await beginChange(context, host, `restore ${manifest.id}`)
  await audited(context, `restore ${manifest.id}`, async () => {
    await hooks(context, host, change, 'before_restore')
    const { databases } = context.deployment.app
    const puts = Object.entries(manifest.databases)
      .filter(([name]) => databases[name])
      .map(([name, { file, sha256 }]) => ({ name, file: `${manifest.path}/${file}`, sha256 }))
    await replaceData(context, host, change, { puts, swaps: [] }).catch((error: unknown) => {
      throw notMigrated(error, context)
    })
    await hooks(context, host, change, 'after_restore')
  })
}

/** Where the migration failed, the hook that comes after it was not run. */
function notMigrated(error: unknown, { deployment: { name, app } }: VpsContext): unknown {
  if (!(error instanceof SlipwayError) || error.code !== 'migrate-failed' || !app.hooks.after_restore) return error
  return restated(
    error,
    `${error.state} The hook after_restore was not run.`,
    `Correct what it says, and migrate again: \`tasks migrate:release=${name}\`; then run the hook by hand: \`tasks run:release=${name} -- …\`.`,
  )
}

/** Over a deployment's data goes only what was asked for by the deployment's name. */
export async function confirmOver(context: VpsContext, what: string): Promise<void> {
  const { name } = context.deployment
  const run = currentRun()
  if (name !== 'production' || run.options.dryRun) return
  const sure = await run.prompter.confirmTyped(
    `This replaces the data of ${name} with ${what}. Type ${name} to go on.`,
    name,
  )
  if (!sure) throw new UsageError('not-confirmed', 'it was not confirmed', { state: 'Nothing was changed.' })
}

/** What comes in the place of databases. */
export interface Replacements {
  /** Dumps and copies: files on the host, and the checksum of those that were found whole. */
  puts: { name: string; file: string; sha256?: string }[]
  /** Databases that lie ready on the server, under another name. */
  swaps: { name: string; database: ServerDatabase; fresh: string; kept: string }[]
}

/** Backup of what is there, stop, put each database, migrate, start what ran. */
export async function replaceData(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  { puts, swaps }: Replacements,
): Promise<void> {
  const { release, guard, facts } = change
  const { migrate } = context.deployment.app
  const kept = `${facts.app.backups}/replaced-${context.deployment.name}-${currentRun().id}-${randomBytes(2).toString('hex')}`
  const there = await withData(context, host, change)
  if (there.length > 0) {
    await inStep('back up what is there', host.name, () => backupWhatIsThere(context, host, change, there))
  }
  const engines = await Promise.all(
    puts.map(async ({ name, file, sha256 }) => ({
      name,
      file,
      sha256,
      engine: await engineFor(context, release, name),
    })),
  )
  const names = engines.map(({ name }) => name)
  const exchanged = [...names, ...swaps.map(({ name }) => name)]
  const before = `what was there is in ${kept}, or on its server as …_before_…`
  const cutOff = (error: unknown, how: string) =>
    lostDuring(error, `${exchanged.join(' and ')}: ${how}; ${before}.`, 'Do it again when the host can be reached.')
  await whileStopped(context, host, change, async () => {
    const steps = [
      { name: 'a folder for what is replaced', command: sh`umask 077; mkdir -p ${kept}` },
      ...engines.map(({ name, file, sha256, engine }) => ({
        name: `put ${name} in place`,
        command: engine.put(file, `${kept}/${name}`, sha256),
      })),
    ]
    const growing = engines.map(({ name, file, engine }) => ({
      label: `put ${name} in place`,
      ...engine.progress.put(file),
    }))
    await watching(host, growing, () => host.script(steps, { guard })).catch(async (error: unknown) => {
      if (error instanceof OutcomeUnknownError) {
        throw cutOff(error, 'as before, or replaced as a whole')
      }
      if (!(error instanceof ScriptError) || error.step === undefined) throw error
      const databases = new Map(engines.map(({ name, engine }) => [`put ${name} in place`, engine.at]))
      const at = steps.findIndex((step) => step.name === error.step?.name)
      const state = stateAfter(names, Math.max(at - 1, 0), kept)
      const known = await explained(error, host, databases, state)
      if (known !== error) throw known
      const { code, message, steps: all, step, detail, cause } = error
      throw new ScriptError(code, message, all, step, { host: host.name, detail, cause, state })
    })
    for (const { name, database, fresh, kept: as } of swaps) {
      await inStep(`put ${name} in place, keep what it was as ${as}`, host.name, () =>
        database.engine.swap(host, database.at, fresh, as),
      ).catch((error: unknown) => {
        throw cutOff(error, 'as before, or replaced as a whole')
      })
    }
    if (migrate === undefined || facts.current === undefined) return
    await host
      .script(
        [...migrateSteps(context, release, facts.current), ...recordMigrations(context, release, facts.current)],
        { guard },
      )
      .catch((error: unknown) => {
        const lost = cutOff(error, 'replaced as a whole, and perhaps migrated')
        if (lost !== error) throw lost
        throw migrationFailed(
          error,
          context.deployment.name,
          `${exchanged.join(' and ')}: replaced as a whole, and not migrated, or in part; ${before}. What ran is started again with it.`,
        )
      })
  })
}

/** A damaged file can't be backed up, and is what a restore is for: it is kept as it is when it is replaced. */
async function backupWhatIsThere(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  names: readonly string[],
): Promise<string | undefined> {
  if (names.length === 0) return 'nothing can be backed up'
  try {
    return (await takeBackup(context, host, change, (name) => names.includes(name)))?.id
  } catch (error) {
    const damaged = names.find((name) => error instanceof SlipwayError && isDamaged(error, `copy ${name}`))
    if (damaged === undefined) throw error
    currentRun().emit({
      type: 'warning',
      host: host.name,
      text: `${(error as Error).message}: no backup of it can be taken; the file is kept as it is`,
    })
    return backupWhatIsThere(
      context,
      host,
      change,
      names.filter((name) => name !== damaged),
    )
  }
}

const isDamaged = ({ code, cause }: SlipwayError, step: string): boolean =>
  code === 'database-damaged' && cause instanceof ScriptError && cause.step?.name === step

/** What is true when the `failed`-th of `names` could not be put in place. Pure. */
export function stateAfter(names: readonly string[], failed: number, kept: string): string {
  const [before, left] = [names.slice(0, failed), names.slice(failed)]
  const is = (list: readonly string[], verb: [string, string]) =>
    `${list.join(' and ')} ${list.length === 1 ? verb[0] : verb[1]}`
  const untouched = is(left, ['is as it was', 'are as they were'])
  if (before.length === 0) return `${untouched}.`
  return `${is(before, ['has been', 'have been'])} replaced already, what was there is in ${kept} or on its server as …_before_…; ${untouched}.`
}

/** The databases that a backup can be taken of. */
async function withData(context: VpsContext, host: Host, change: ChangeOn): Promise<string[]> {
  const files = Object.entries(context.deployment.app.databases).flatMap(([name, each]) =>
    each.kind === 'sqlite' ? [{ name, path: `${change.release.shared}/${each.path}` }] : [],
  )
  const found: string[] = []
  if (files.length > 0) {
    const look = sh`for f in ${files.map((file) => file.path)}; do [ -s "$f" ] && echo yes || echo no; done`
    const answers = await host.run(look, { kind: 'probe', quiet: true, label: 'look for data' }).lines()
    for (const [index, file] of files.entries()) if (answers[index] === 'yes') found.push(file.name)
  }
  for (const { name, database } of await serversOn(context, host, change.release)) {
    if ((await database.engine.inspect(host, database.at)).exists) found.push(name)
  }
  return found
}

/** Stops workers and server if they run, and starts again what ran, whatever `fn` did. */
async function whileStopped(context: VpsContext, host: Host, change: ChangeOn, fn: () => Promise<void>): Promise<void> {
  const supervisor = await findDaemon(context, host, change.release)
  const processes = supervisor ? await supervisor.processes() : []
  supervisor?.close()
  const serverRan = processes.some((each) => /^app-[ab]$/.test(each.name) && isUp(each))
  const workersRan = processes.some((each) => !/^app-[ab]$/.test(each.name) && isUp(each))
  if (workersRan) await workersOf(context).stop()
  if (serverRan) await serverOf(context).stop()
  // Each database was replaced whole or not at all: the app is right to run either way.
  const start = async () => {
    if (serverRan) await serverOf(context).start()
    if (workersRan) await workersOf(context).start()
  }
  try {
    await fn()
  } catch (error) {
    let stopped = ''
    await evenIfAborted(start).catch((other: Error) => {
      stopped = ` What was stopped for this could not be started again: ${other.message}.`
    })
    if (stopped === '') throw error
    const { name } = context.deployment
    const next = `When the host can be reached: \`tasks start_app:release=${name}\`, and start_${name}_supervisor for the workers.`
    const state = `${(error as SlipwayError).state ?? 'It is not known what was done.'}${stopped}`
    if (error instanceof OutcomeUnknownError) throw lostDuring(error, state, next)
    currentRun().emit({ type: 'warning', host: host.name, text: `${stopped.trim()} ${next}` })
    throw error
  }
  await start()
}

/** A hook before that fails stops what it is before; one after leaves the data in place, and the app running. */
export async function hooks(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  name: 'before_restore' | 'after_restore' | 'before_clone' | 'after_clone',
): Promise<void> {
  const commands = context.deployment.app.hooks[name] ?? []
  const { current } = change.facts
  if (current === undefined || commands.length === 0) return
  const steps = commands.map((command) => ({
    name: `${name.replace('_', ' ')}: ${command}`,
    command: inVersion(change.release, current, command),
  }))
  await host.script(steps, { guard: change.guard }).catch((error: unknown) => {
    const before = name.startsWith('before')
    const lost = lostDuring(
      error,
      before
        ? `The data is as it was, and the app runs with it. The hook ${name} may be done, under way or not begun.`
        : `The data is in place, and the app runs with it. The hook ${name} may be done, under way or not begun.`,
      before
        ? 'Do it again when the host can be reached.'
        : `When the host can be reached, run by hand what is missing: \`tasks run:release=${context.deployment.name} -- …\`.`,
    )
    if (lost !== error || !(error instanceof ScriptError) || error.step === undefined) throw lost
    throw new SlipwayError('data-hook', `${error.step.name} failed`, {
      host: host.name,
      cause: error,
      detail: `${error.step.stdout}${error.step.stderr}`.trim() || undefined,
      state: before ? 'Nothing was changed.' : 'The data is in place, and the app runs with it.',
      next: before
        ? `Correct the hook ${name}, and do it again.`
        : `Run it by hand: \`tasks run:release=${context.deployment.name} -- …\`.`,
    })
  })
}
