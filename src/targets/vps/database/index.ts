/** The databases of a deployment, all of them behind the contract's one interface. */
import { resolveText } from '../../../config/secrets.ts'
import { currentRun, SlipwayError } from '../../../events/index.ts'
import { CommandError } from '../../../hosts/errors.ts'
import type { Host } from '../../../hosts/host.ts'
import { type Secret, sh } from '../../../shell/index.ts'
import type { Database } from '../../deployment.ts'
import { audited, beginChange, type ChangeOn, requireVersion } from '../change.ts'
import type { VpsContext } from '../context.ts'
import { hostFacts, requireRelease } from '../facts.ts'
import { inVersion, migrateSteps, recordMigrations } from '../install.ts'
import type { ReleaseLayout } from '../layout.ts'
import { inStep, lostDuring } from '../step.ts'
import { initFailed, migrationFailed } from './app-commands.ts'
import { keptName, scratchName } from './engine.ts'
import { engineFor, explained, type NamedServer, serversOn } from './engines.ts'
import { sizes, withData } from './sqlite.ts'

export interface SqliteFile {
  name: string
  path: string
  role: 'data' | 'queue'
}

export function sqliteFiles(context: VpsContext, release: ReleaseLayout): SqliteFile[] {
  return Object.entries(context.deployment.app.databases).flatMap(([name, database]) =>
    database.kind === 'sqlite' ? [{ name, path: `${release.shared}/${database.path}`, role: database.role }] : [],
  )
}

export const databaseHost = (context: VpsContext): Host => context.role('database').first()

export function databaseOf(context: VpsContext): Database {
  return {
    init: (options) => init(context, options),
    migrate: () => migrate(context),
    size: () => size(context),
    backup: async () => (await import('./backup.ts')).backup(context),
    backups: async () => (await import('./backup.ts')).backups(context),
    verify: async (backup) => (await import('./backup.ts')).verifyBackup(context, backup),
    fetch: async (directory) => (await import('./backup.ts')).fetchBackup(context, directory),
    restore: async (backup) => (await import('./restore.ts')).restore(context, backup),
    copyTo: async (target) => (await import('./clone.ts')).copyTo(context, target),
    shell: async () => shell(context),
  }
}

async function init(context: VpsContext, options: { force?: boolean; unlessThere?: boolean } = {}): Promise<void> {
  const { app, name } = context.deployment
  if (app.initDb === undefined) {
    throw new SlipwayError('no-init-db', `${context.config.file} has no init_db command`, {
      next: 'Set [app] init_db to the command that creates and fills the database.',
    })
  }
  const answers: Record<string, string | Secret> = {}
  for (const [variable, value] of Object.entries(app.initAnswers ?? {})) {
    answers[variable] = await resolveText(context.config, value, `[app.init_answers] ${variable}`)
  }
  const host = databaseHost(context)
  const change = await beginChange(context, host, `init the database of ${name}`)
  const version = requireVersion(change, host)
  const files = sqliteFiles(context, change.release)
  const servers = await serversWithData(host, await serversOn(context, host, change.release))
  const full = [...(await filesWithData(host, files)), ...servers.map(({ name }) => name)]
  if (full.length > 0 && options.unlessThere) {
    currentRun().emit({
      type: 'note',
      host: host.name,
      text: `there is data already: ${full.join(', ')} left as it is`,
    })
    return
  }
  if (full.length > 0 && !options.force) {
    throw new SlipwayError('has-data', `there is data already in ${full.join(', ')} of ${change.release.name}`, {
      host: host.name,
      state: 'Nothing was changed.',
      next: 'Start over with force=true: what is there is kept in the backups.',
    })
  }
  await audited(context, 'init the database', async () => {
    if (full.length > 0) {
      await setAside(context, host, change, files)
      await setServersAside(host, servers)
    }
    const command = inVersion(change.release, version, app.initDb as string)
    await inStep(`init the database of ${change.release.name}`, host.name, async () => {
      if (Object.keys(answers).length === 0 && currentRun().prompter.interactive && process.stdin.isTTY) {
        const exitCode = await host.shell(command.render())
        if (exitCode !== 0) throw initFailed(host.name, `init_db ended with status ${exitCode}`)
        return
      }
      await host
        .env(answers)
        .run(command, { label: app.initDb })
        .catch((error: unknown) => {
          const lost = lostDuring(
            error,
            'init_db may have done all of it, a part, or nothing; what was there before, if anything, is in the backups.',
            'When the host can be reached, begin again: `tasks init_staging_db:force`.',
          )
          if (lost !== error || !(error instanceof CommandError)) throw lost
          throw initFailed(host.name, error.message, error)
        })
    })
  })
}

/** Moves databases out of the way, into the app's backups. */
async function setAside(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  files: readonly SqliteFile[],
): Promise<void> {
  const folder = `${change.facts.app.backups}/before-init-${context.deployment.name}-${currentRun().id}`
  await host.script(
    files.map((file) => ({
      name: `keep ${file.name} in ${folder}`,
      command: sh`mkdir -p ${folder}; for e in -wal -shm -journal ''; do [ ! -e ${file.path}"$e" ] || mv ${file.path}"$e" ${`${folder}/${file.name}.sqlite`}"$e"; done`,
    })),
    { guard: change.guard },
  )
}

/** Puts an empty database in the place of each; what was there stays on its server. */
async function setServersAside(host: Host, servers: readonly NamedServer[]): Promise<void> {
  if (currentRun().options.dryRun) return
  for (const { name, database } of servers) {
    const { at, engine } = database
    const [fresh, kept] = [scratchName(at.database, currentRun().id), keptName(at.database, new Date())]
    await inStep(`keep ${name} as ${kept}`, host.name, async () => {
      await engine.createEmpty(host, at, fresh)
      await engine.swap(host, at, fresh, kept)
    })
  }
}

/** Those that hold tables of data. */
async function serversWithData(host: Host, servers: readonly NamedServer[]): Promise<NamedServer[]> {
  const full: NamedServer[] = []
  for (const server of servers) {
    const { at, engine, role } = server.database
    if (role === 'data' && (await engine.inspect(host, at)).tables > 0) full.push(server)
  }
  return full
}

async function filesWithData(host: Host, files: readonly SqliteFile[]): Promise<string[]> {
  if (files.length === 0) return []
  const data = files.filter((file) => file.role === 'data').map((file) => file.path)
  const { stdout } = await host.run(withData(data), { kind: 'probe', quiet: true, label: 'look for data' })
  const paths = JSON.parse(stdout) as string[]
  return files.filter((file) => paths.includes(file.path)).map((file) => file.name)
}

async function migrate(context: VpsContext): Promise<void> {
  const { app, name } = context.deployment
  if (app.migrate === undefined) {
    throw new SlipwayError('no-migrate', `${context.config.file} has no migrate command`, {
      next: 'Set [app] migrate to the command that brings the schema up to date.',
    })
  }
  const host = databaseHost(context)
  const change = await beginChange(context, host, `migrate ${name}`)
  const version = requireVersion(change, host)
  await audited(context, 'migrate', async () => {
    await host
      .script(
        [...migrateSteps(context, change.release, version), ...recordMigrations(context, change.release, version)],
        { guard: change.guard },
      )
      .catch((error: unknown) => {
        const lost = lostDuring(
          error,
          'The migration may be done, under way or not begun; the app goes on with its code as it was.',
          `When the host can be reached, look whether it still runs, then go on: \`tasks migrate:release=${name}\`.`,
        )
        if (lost !== error) throw lost
        throw migrationFailed(
          error,
          name,
          'The app goes on with its code as it was; the schema is as the migration left it.',
        )
      })
  })
}

/** On disk, in the order of the configuration; 0 for one that is not there. */
async function size(context: VpsContext): Promise<{ name: string; bytes: number }[]> {
  const host = databaseHost(context)
  const release = requireRelease(context.deployment, await hostFacts(context.deployment, host), host)
  const names = Object.keys(context.deployment.app.databases)
  if (names.length === 0) return []
  const files = sqliteFiles(context, release)
  const servers: [string, Awaited<ReturnType<typeof engineFor>>][] = []
  for (const name of names) {
    if (!files.some((file) => file.name === name)) servers.push([name, await engineFor(context, release, name)])
  }
  const steps = [
    ...(files.length > 0 ? [{ name: 'size of files', command: sizes(files.map((file) => file.path)) }] : []),
    ...servers.map(([name, engine]) => ({ name: `size of ${name}`, command: engine.size() })),
  ]
  // A script, because it travels on standard input: a password may be part of it.
  const results = await host.script(steps, { kind: 'probe', quiet: true }).catch(async (error: unknown) => {
    throw await explained(error, host, new Map(servers.map(([name, engine]) => [`size of ${name}`, engine.at])))
  })
  const read = (step: string) => {
    const index = steps.findIndex((each) => each.name === step)
    return JSON.parse(results[index]?.stdout.trim().split('\n').pop() || '{}') as Record<string, number>
  }
  const ofFiles = files.length > 0 ? read('size of files') : {}
  return names.map((name) => {
    const file = files.find((each) => each.name === name)
    return { name, bytes: (file ? ofFiles[file.path] : Object.values(read(`size of ${name}`))[0]) ?? 0 }
  })
}

/** The client of the first database that is configured. */
async function shell(context: VpsContext): Promise<number> {
  const host = databaseHost(context)
  const release = requireRelease(context.deployment, await hostFacts(context.deployment, host), host)
  const [name] = Object.keys(context.deployment.app.databases)
  if (name === undefined) {
    throw new SlipwayError('no-database', 'no database is configured', { next: 'Add it to [app.databases].' })
  }
  const file = sqliteFiles(context, release).find((each) => each.name === name)
  if (file) return host.shell(sh`sqlite3 ${file.path}`.render())
  const server = (await serversOn(context, host, release)).find((each) => each.name === name)
  return host.shell((server as NamedServer).database.engine.shell((server as NamedServer).database.at).render())
}
