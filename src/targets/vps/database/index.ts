/** The databases of a deployment, all of them behind the contract's one interface. */
import { resolveText } from '../../../config/secrets.ts'
import { currentRun, SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { type Secret, sh } from '../../../shell/index.ts'
import type { Database } from '../../deployment.ts'
import { audited, beginChange, type ChangeOn, requireVersion } from '../change.ts'
import type { VpsContext } from '../context.ts'
import { hostFacts, requireRelease } from '../facts.ts'
import { inVersion } from '../install.ts'
import type { ReleaseLayout } from '../layout.ts'
import { inStep } from '../step.ts'
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
    copyTo: async (target) => (await import('./restore.ts')).copyTo(context, target),
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
  const full = await filesWithData(host, files)
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
    if (full.length > 0) await setAside(context, host, change, files)
    const command = inVersion(change.release, version, app.initDb as string)
    await inStep(`init the database of ${change.release.name}`, host.name, async () => {
      if (Object.keys(answers).length === 0 && currentRun().prompter.interactive && process.stdin.isTTY) {
        const exitCode = await host.shell(command.render())
        if (exitCode !== 0)
          throw new SlipwayError('init-failed', `init_db ended with status ${exitCode}`, { host: host.name })
        return
      }
      await host.env(answers).run(command, { label: app.initDb })
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
    await host.script(
      [{ name: `migrate: ${app.migrate}`, command: inVersion(change.release, version, app.migrate as string) }],
      {
        guard: change.guard,
      },
    )
  })
}

async function size(context: VpsContext): Promise<{ name: string; bytes: number }[]> {
  const host = databaseHost(context)
  const release = requireRelease(context.deployment, await hostFacts(context.deployment, host), host)
  const files = sqliteFiles(context, release)
  if (files.length === 0) return []
  const { stdout } = await host.run(sizes(files.map((file) => file.path)), {
    kind: 'probe',
    quiet: true,
    label: 'sizes',
  })
  const bytes = JSON.parse(stdout) as Record<string, number>
  return files.map((file) => ({ name: file.name, bytes: bytes[file.path] ?? 0 }))
}

async function shell(context: VpsContext): Promise<number> {
  const host = databaseHost(context)
  const release = requireRelease(context.deployment, await hostFacts(context.deployment, host), host)
  const file = sqliteFiles(context, release)[0]
  if (!file) throw new SlipwayError('no-database', 'no database is configured', { next: 'Add it to [app.databases].' })
  return host.shell(sh`sqlite3 ${file.path}`.render())
}
