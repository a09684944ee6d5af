/** Backups of a deployment's databases, kept on its host: each a folder with the copies and a manifest. */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { currentRun, OutcomeUnknownError, SlipwayError } from '../../../events/index.ts'
import { ScriptError } from '../../../hosts/errors.ts'
import type { Host, ScriptStep } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { Backup } from '../../deployment.ts'
import { fileSize } from '../../status-text.ts'
import { audited, beginChange, type ChangeOn } from '../change.ts'
import type { VpsContext } from '../context.ts'
import { hostFacts } from '../facts.ts'
import { inVersion } from '../install.ts'
import { writeFile } from '../release-files.ts'
import { evenIfAborted, inStep, lostDuring } from '../step.ts'
import { explain } from './engine-errors.ts'
import { type Engine, engineFor, explained, knownErrors } from './engines.ts'
import { databaseHost } from './index.ts'
import { retention } from './scheduled.ts'
import { type Estimate, watching } from './watch.ts'

/** What `manifest.json` of a backup holds. */
export interface Manifest {
  id: string
  at: string
  deployment: string
  release: string
  version?: string
  databases: Record<
    string,
    { file: string; kind: string; bytes: number; counts: Record<string, number>; sha256: string }
  >
  verified: boolean
  /** Made by the host itself. */
  scheduled?: boolean
}

function backupId(deployment: string, now = new Date()): string {
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15)
  return `${deployment}-${stamp}-${randomBytes(2).toString('hex')}`
}

export async function backup(context: VpsContext): Promise<Backup> {
  const host = databaseHost(context)
  const change = await beginChange(context, host, `backup ${context.deployment.name}`)
  return audited(context, 'backup', async () => {
    const manifest = await inStep(`back up the databases of ${change.release.name}`, host.name, () =>
      takeBackup(context, host, change),
    )
    if (manifest) await afterBackup(context, host, change, manifest.id)
    return manifest ? asBackup(manifest) : { id: 'held-back', at: '', bytes: 0, databases: [], verified: false }
  })
}

/** What goes somewhere else, and what goes away. The backup is there, whatever becomes of these. */
async function afterBackup(context: VpsContext, host: Host, change: ChangeOn, id: string): Promise<void> {
  const { name, keepBackups, app } = context.deployment
  const { backups } = change.facts.app
  const { current } = change.facts
  const hooks = current === undefined ? [] : (app.hooks.after_backup ?? [])
  await host
    .script(
      [
        { name: 'remove old backups', command: retention(backups, name, keepBackups) },
        ...hooks.map((command) => ({
          name: `after backup: ${command}`,
          command: sh`SLIPWAY_BACKUP=${`${backups}/${id}`} SLIPWAY_BACKUP_ID=${id} ${inVersion(change.release, current as string, command)}`,
        })),
      ],
      { guard: change.guard },
    )
    .catch((error: unknown) => {
      const state = `The backup ${id} is there, and whole.`
      if (error instanceof OutcomeUnknownError) throw lostDuring(error, state, 'See what there is: `tasks backups`.')
      if (!(error instanceof ScriptError) || error.step === undefined) throw error
      throw new SlipwayError('after-backup', `${error.step.name} failed`, {
        host: host.name,
        cause: error,
        detail: `${error.step.stdout}${error.step.stderr}`.trim() || undefined,
        state,
        next: 'Correct the hook after_backup, and take another backup.',
      })
    })
}

/** Copies every database into a folder that gets its name when all of it is there. undefined in a dry run. */
export async function takeBackup(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  choose: (name: string) => boolean = () => true,
): Promise<Manifest | undefined> {
  const { facts, release, guard } = change
  const names = Object.keys(context.deployment.app.databases).filter(choose)
  if (names.length === 0) {
    throw new SlipwayError('no-database', 'no database is configured', { next: 'Add it to [app.databases].' })
  }
  const id = backupId(context.deployment.name)
  const folder = `${facts.app.backups}/${id}`
  const engines = await Promise.all(
    names.map(async (name) => ({ name, engine: await engineFor(context, release, name) })),
  )
  const steps: ScriptStep[] = [
    {
      name: 'a folder for the backup',
      command: sh`umask 077; mkdir -p ${`${folder}.new`}
# What a backup that was cut off has left: none of this deployment takes a day.
find ${facts.app.backups} -maxdepth 1 -name ${`${context.deployment.name}-*.new`} -mmin +1440 -exec rm -rf -- {} + 2>/dev/null || :`,
    },
    ...engines.map(({ name, engine }) => ({
      name: `copy ${name}`,
      command: engine.dump(`${folder}.new/${engine.fileName}`),
      // For programs: what it says is told as a sentence below.
      hidden: true,
    })),
  ]
  const growing = engines.map(({ name, engine }) => ({
    // Written beside, and renamed when it is found whole.
    file: `${folder}.new/${engine.fileName}.new`,
    label: `copy ${name}`,
    ...(engine.kind === 'sqlite' ? { source: engine.at.database } : {}),
  }))
  const estimates = () => expected(context, host, engines)
  const work = () => host.script(steps, { guard })
  const results = await watching(host, growing, work, estimates).catch(async (error: unknown) => {
    const lost = lostDuring(
      error,
      `${context.deployment.name} is as it was; no part of it counts as a backup, and what there is of one is removed within a day.`,
      'Take it again when the host can be reached: `tasks backup_db`.',
    )
    if (lost !== error) throw lost
    await evenIfAborted(async () => {
      await host.run(sh`rm -rf ${`${folder}.new`}`, { quiet: true, nothrow: true })
    }).catch(() => {})
    throw await explained(error, host, new Map(engines.map(({ name, engine }) => [`copy ${name}`, engine.at])))
  })
  if (currentRun().options.dryRun) return undefined
  const manifest: Manifest = {
    id,
    at: new Date().toISOString(),
    deployment: context.deployment.name,
    release: release.name,
    version: facts.current,
    databases: Object.fromEntries(
      engines.map(({ name, engine }, index) => {
        const said = JSON.parse(results[index + 1]?.stdout.trim().split('\n').pop() ?? '{}') as {
          bytes: number
          counts: Record<string, number>
          sha256: string
        }
        return [name, { file: engine.fileName, kind: engine.kind, ...said }]
      }),
    ),
    verified: true,
  }
  for (const [name, { bytes, counts }] of Object.entries(manifest.databases)) {
    const rows = Object.values(counts).reduce((sum, each) => sum + each, 0)
    const text = `${name}: ${fileSize(bytes)}, ${rows} rows in ${Object.keys(counts).length} tables`
    currentRun().emit({ type: 'note', host: host.name, text })
  }
  await host.script(
    [
      {
        name: 'the manifest',
        command: writeFile(`${folder}.new/manifest.json`, `${JSON.stringify(manifest)}\n`, 0o600),
      },
      { name: `backups/${id}`, command: sh`mv ${`${folder}.new`} ${folder}` },
    ],
    { guard },
  )
  return manifest
}

/**
 * How large the dumps of servers will be: about what the last ones were. Of a first one the database's size is told
 * alone, because nobody knows how much smaller it gets by being dumped.
 */
async function expected(
  context: VpsContext,
  host: Host,
  engines: readonly { name: string; engine: Engine }[],
): Promise<Record<string, Estimate>> {
  const servers = engines.filter(({ engine }) => engine.kind !== 'sqlite')
  if (servers.length === 0) return {}
  const last = new Map<string, number>()
  for (const manifest of (await manifests(context)).list) {
    if (manifest.deployment !== context.deployment.name) continue
    for (const { name, engine } of servers) {
      const copy = manifest.databases[name]
      if (copy?.kind === engine.kind && !last.has(name)) last.set(name, copy.bytes)
    }
  }
  const firsts = servers.filter(({ name }) => !last.has(name))
  const sizes = await Promise.all(
    firsts.map(async ({ name, engine }): Promise<[string, Estimate]> => {
      // A script, because it travels on standard input: a password may be part of it.
      const size: ScriptStep = { name: `size of ${name}`, command: engine.size(), hidden: true }
      const [answer] = await host.script([size], { kind: 'probe', quiet: true })
      const bytes = (JSON.parse(answer?.stdout ?? '{}') as Record<string, number>)[engine.at.database]
      return [`copy ${name}`, bytes === undefined ? {} : { of: `a database of ${fileSize(bytes)}` }]
    }),
  )
  const known = [...last].map(([name, total]): [string, Estimate] => [`copy ${name}`, { total }])
  return Object.fromEntries([...known, ...sizes])
}

const asBackup = (manifest: Manifest): Backup => ({
  id: manifest.id,
  at: manifest.at,
  bytes: Object.values(manifest.databases).reduce((sum, each) => sum + each.bytes, 0),
  databases: Object.keys(manifest.databases),
  verified: manifest.verified,
  ...(manifest.scheduled ? { scheduled: true } : {}),
})

/** Newest first. */
async function manifests(context: VpsContext): Promise<{ folder: string; list: Manifest[] }> {
  const host = databaseHost(context)
  const facts = await hostFacts(context.deployment, host)
  const { stdout } = await host.run(sh`cat ${facts.app.backups}/*/manifest.json 2>/dev/null || :`, {
    kind: 'probe',
    quiet: true,
    label: 'the backups',
  })
  const list = stdout.split('\n').flatMap((line): Manifest[] => {
    try {
      return line.trim() === '' ? [] : [JSON.parse(line) as Manifest]
    } catch {
      return []
    }
  })
  return { folder: facts.app.backups, list: list.sort((a, b) => (a.at < b.at ? 1 : -1)) }
}

export async function backups(context: VpsContext): Promise<Backup[]> {
  return (await manifests(context)).list.map(asBackup)
}

/** The backup `id` (or the beginning of it), the newest of this deployment unless given. */
export async function findBackup(context: VpsContext, id?: string): Promise<Manifest & { path: string }> {
  const { folder, list } = await manifests(context)
  const found =
    id === undefined
      ? list.find((each) => each.deployment === context.deployment.name)
      : list.find((each) => each.id === id || each.id.startsWith(id))
  if (found) return { ...found, path: `${folder}/${found.id}` }
  throw new SlipwayError(
    'no-backup',
    id === undefined ? `there is no backup of ${context.deployment.name}` : `there is no backup ${id}`,
    {
      detail:
        list
          .slice(0, 10)
          .map((each) => each.id)
          .join('\n') || undefined,
      state: 'Nothing was changed.',
      next: 'See what there is: `tasks backups`.',
    },
  )
}

/** Restores a backup into scratch databases, and compares checksum, integrity and rows with its manifest. */
export async function verifyBackup(context: VpsContext, id?: string): Promise<void> {
  const host = databaseHost(context)
  const manifest = await findBackup(context, id)
  const facts = await hostFacts(context.deployment, host)
  if (!facts.release) return
  for (const [name, copy] of Object.entries(manifest.databases)) {
    const engine = await engineFor(context, facts.release, name)
    await inStep(`verify ${name} of ${manifest.id}`, host.name, async () => {
      // A script, because it travels on standard input: a password may be part of it.
      const file = `${manifest.path}/${copy.file}`
      const label = `verify ${name}`
      const step: ScriptStep = { name: label, command: engine.verify(file), nothrow: true }
      const [answer] = await watching(host, [{ label, ...engine.progress.verify(file) }], () =>
        host.script([step], { kind: 'probe', quiet: true }),
      ).catch((error: unknown) => {
        throw lostDuring(
          error,
          'Nothing of the app or of the backup was changed; whether the backup is good is not known.',
          `When the host can be reached: \`tasks verify_backup:release=${context.deployment.name}\`.`,
        )
      })
      if (answer?.exitCode !== 0) {
        const state = 'Nothing was changed; whether the backup is good is not known.'
        const attempt = { what: `verify ${name}`, host: host.name, at: engine.at, state }
        const known = await knownErrors(engine.kind)
        const error = explain(attempt, answer?.stderr ?? '', answer?.exitCode ?? null, known)
        // Of a server that refuses, or a full disk, nothing follows for the backup.
        if (error.code !== 'database-dump-damaged' && error.code !== 'database-no-dump') throw error
      }
      const problem =
        answer?.exitCode === 0
          ? compare(copy, JSON.parse(answer.stdout.trim().split('\n').pop() ?? '{}'))
          : answer?.stderr.trim()
      if (problem === undefined) return
      throw new SlipwayError('bad-backup', `the backup ${manifest.id} of ${name} is not good: ${problem}`, {
        host: host.name,
        state: 'Nothing was changed.',
        next: 'Take a new one: `tasks backup_db`.',
      })
    })
  }
}

/** What is different between a manifest's entry and what a test restore found; undefined where nothing is. Pure. */
function compare(
  wanted: { counts: Record<string, number>; sha256: string },
  found: { counts: Record<string, number>; sha256: string },
): string | undefined {
  if (wanted.sha256 && found.sha256 !== wanted.sha256) return 'its checksum is not what it was'
  for (const [table, rows] of Object.entries(wanted.counts)) {
    if (found.counts[table] !== rows) return `${table} has ${found.counts[table] ?? 'no'} rows, and had ${rows}`
  }
  return undefined
}

/** A fresh backup, brought to the operator's machine and compared there. Resolves with the paths. */
export async function fetchBackup(context: VpsContext, directory = '.'): Promise<string[]> {
  const taken = await backup(context)
  if (currentRun().options.dryRun) return []
  const host = databaseHost(context)
  const manifest = await findBackup(context, taken.id)
  const folder = join(currentRun().options.projectDir ?? process.cwd(), directory)
  const paths: string[] = []
  for (const [name, copy] of Object.entries(manifest.databases)) {
    const path = join(
      folder,
      `${context.deployment.name}-${name}-${manifest.id.split('-').slice(1, 3).join('-')}-${copy.file}`,
    )
    await inStep(`fetch ${name}`, host.name, async () => {
      try {
        await mkdir(folder, { recursive: true })
        await host.download(`${manifest.path}/${copy.file}`, path)
        await requireSum(path, copy.sha256)
      } catch (error) {
        const state = `The backup ${manifest.id} is on ${host.name}, and whole; ${name} of it is not here.`
        const next = `Fetch again: \`tasks fetch_db:release=${context.deployment.name}\`; or copy ${manifest.path}/${copy.file} yourself.`
        if (error instanceof OutcomeUnknownError) throw lostDuring(error, state, next)
        currentRun().signal.throwIfAborted()
        const { message } = error as Error
        throw new SlipwayError('fetch-failed', `${name} could not be fetched: ${message}`, {
          host: host.name,
          cause: error,
          state,
          next: /ENOSPC/.test(message) ? 'Make room on the disk here, or fetch it to another one: to=FOLDER.' : next,
        })
      }
    })
    paths.push(path)
  }
  return paths
}

async function requireSum(path: string, sha256: string): Promise<void> {
  const sum = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) sum.update(chunk as Buffer)
  if (sum.digest('hex') === sha256) return
  await rm(path, { force: true })
  throw new Error('what arrived has another checksum')
}
