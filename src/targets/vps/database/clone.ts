/**
 * One deployment's data over another's: databases and media; queues and spools stay each where they are. Copies are
 * made beside while both go on, and scrubbed there; the target stands still for the moment of the exchange alone.
 */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DatabaseConfig } from '../../../config/types.ts'
import { currentRun, restated, SlipwayError, UsageError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { Deployment } from '../../deployment.ts'
import { audited, beginChange, type ChangeOn } from '../change.ts'
import type { VpsContext } from '../context.ts'
import { vpsContext } from '../create.ts'
import { hostFacts } from '../facts.ts'
import { evenIfAborted, inStep, lostDuring } from '../step.ts'
import { takeBackup } from './backup.ts'
import { carryFile, carryFolder } from './carry.ts'
import { keptName, scratchName } from './engine.ts'
import { explained, type NamedServer, serversOn } from './engines.ts'
import { databaseHost } from './index.ts'
import { confirmOver, hooks, type Replacements, replaceData } from './restore.ts'
import type { ServerDatabase } from './servers.ts'
import { scrubDatabase } from './sqlite.ts'

/** One end of a copy. */
interface End {
  context: VpsContext
  host: Host
  change: ChangeOn
}

/** A database on a server at both ends. */
interface Pair {
  name: string
  source: ServerDatabase
  target: ServerDatabase
}

/** This deployment's data over `target`'s, on the same host or another one; a backup of `target` is taken first. */
export async function copyTo(context: VpsContext, target: Deployment): Promise<void> {
  if (target.target === 'vps') return copyData(context, vpsContext(context.config, target.config))
  throw new UsageError(
    'other-target',
    `${target.name} runs on Heroku, and ${context.deployment.name} on hosts: the data can't be copied between them here`,
  )
}

/** Databases of data and media of one deployment over another's. */
export async function copyData(context: VpsContext, to: VpsContext): Promise<void> {
  const [source, target] = [context.deployment, to.deployment]
  if (target.name === source.name) throw new UsageError('same-deployment', `${target.name} can't be copied onto itself`)
  const names = databasesToCopy(source.app.databases, target.app.databases)
  const scrub = await scrubbingOf(to, names)
  const [fromHost, toHost] = [databaseHost(context), databaseHost(to)]
  await confirmOver(to, `the data of ${source.name}`)
  const fromFacts = await hostFacts(source, fromHost)
  if (!fromFacts.release) {
    throw new SlipwayError('no-release', `there is no ${source.name} to copy from`, { host: fromHost.name })
  }
  const what = `copy ${source.name} to ${target.name}`
  const there: End = { context: to, host: toHost, change: await beginChange(to, toHost, what) }
  requireTwoReleases({ context, host: fromHost, change: { release: fromFacts.release } }, there)
  await audited(to, `copy of ${source.name}`, async () => {
    const here: End = { context, host: fromHost, change: await beginChange(context, fromHost, what) }
    await hooks(to, toHost, there.change, 'before_clone')
    const made = async <T>(copying: Promise<T>): Promise<T> =>
      copying.catch((error: unknown) => {
        const state = `${target.name} runs on with its own data, which is as it was`
        const lost = lostDuring(
          error,
          `${state}; what has come of a copy counts for nothing, and the next one removes it.`,
          `When the hosts can be reached, do it again: \`tasks clone_${source.name}_db_to_${target.name}\`.`,
        )
        throw lost === error ? withState(error, `${state}.`) : lost
      })
    const swaps = await made(copyServers(here, there, names, scrub))
    try {
      const { puts, tidy } = await made(copyFiles(here, there, names, scrub))
      try {
        if (currentRun().options.dryRun) return
        await replaceData(to, toHost, there.change, { puts, swaps }).catch((error: unknown) => {
          throw notMigrated(error, context, to)
        })
      } finally {
        await tidy()
      }
    } catch (error) {
      await dropCopies(toHost, swaps)
      throw error
    }
    await copyMedia(here, there).catch((error: unknown) => {
      const state = `The databases of ${target.name} are those of ${source.name}, and it runs; of the media not all may have come.`
      const lost = lostDuring(error, state, 'When the hosts can be reached, do it again.')
      throw lost === error ? withState(error, state) : lost
    })
    await hooks(to, toHost, there.change, 'after_clone')
  })
}

/** Where the migration failed, what comes after the databases was not begun: cloning again makes up for all of it. */
function notMigrated(error: unknown, from: VpsContext, { deployment }: VpsContext): unknown {
  if (!(error instanceof SlipwayError) || error.code !== 'migrate-failed') return error
  const media = mediaFolders(from.deployment.app).length > 0 ? ' Its media are as they were.' : ''
  const hooks = deployment.app.hooks.after_clone ? ' The hook after_clone was not run.' : ''
  const again = `tasks clone_${from.deployment.name}_db_to_${deployment.name}`
  return restated(error, `${error.state}${media}${hooks}`, `Correct what it says, and clone again: \`${again}\`.`)
}

/** A failure to carry something, with what that means for the deployment; other errors as they are. */
function withState(error: unknown, state: string): unknown {
  if (!(error instanceof SlipwayError) || error.code !== 'carry-failed') return error
  return restated(error, state)
}

type Databases = Readonly<Record<string, DatabaseConfig>>

/** The databases of data that both have. What production has queued must not be sent from a copy as well. Pure. */
function databasesToCopy(from: Databases, to: Databases): string[] {
  const names = Object.keys(from).filter((name) => from[name]?.role === 'data' && to[name]?.role === 'data')
  for (const name of names) {
    const [one, other] = [from[name]?.kind, to[name]?.kind]
    if (one === other) continue
    throw new UsageError('database-kind', `${name} is ${one} in one deployment, and ${other} in the other`, {
      state: 'Nothing was changed.',
    })
  }
  return names
}

interface Scrubbing {
  /** The database that it is run on. */
  name: string
  file: string
  sql: string
}

async function scrubbingOf(to: VpsContext, names: readonly string[]): Promise<Scrubbing | undefined> {
  const { scrub: file, name: deployment } = to.deployment
  const [name] = names
  if (file === undefined || name === undefined) return undefined
  try {
    return { name, file, sql: await readFile(join(to.config.dir, file), 'utf8') }
  } catch (cause) {
    throw new UsageError('scrub', `[${deployment}] scrub = ${file}, and it can't be read`, {
      cause,
      state: 'Nothing was changed.',
    })
  }
}

/** Two deployments can be told by one folder: `release = r2` in one, and r2 what the other was promoted to. */
export function requireTwoReleases(from: ReleaseOf, to: ReleaseOf): void {
  if (from.change.release.dir !== to.change.release.dir || from.host.name !== to.host.name) return
  const [source, target] = [from.context.deployment.name, to.context.deployment.name]
  throw new UsageError('same-release', `${source} and ${target} are the same release`, {
    state: 'Nothing was changed.',
  })
}

interface ReleaseOf {
  context: VpsContext
  host: Pick<Host, 'name'>
  change: { release: { dir: string } }
}

/** Whatever they are called and by which way they are reached: the servers say which database it is. */
export async function requireOwnDatabases(
  from: Pick<End, 'host'>,
  to: Pick<End, 'context' | 'host'>,
  { name, source, target }: Pair,
): Promise<void> {
  const one = await source.engine.inspect(from.host, source.at)
  const other = await target.engine.inspect(to.host, target.at)
  if (!one.exists || one.identity !== other.identity) return
  const deployment = to.context.deployment.name
  throw new SlipwayError('same-database', `both deployments use one database as ${name}: ${source.at.database}`, {
    host: to.host.name,
    state: 'Nothing was changed.',
    next: `Give ${deployment} one of its own: [${deployment}.databases] ${name} = …`,
  })
}

/** A copy of each database on a server beside the one it will replace, scrubbed; dropped again where one fails. */
async function copyServers(
  from: End,
  to: End,
  names: readonly string[],
  scrub: Scrubbing | undefined,
): Promise<Replacements['swaps']> {
  const sources = await serversOn(from.context, from.host, from.change.release)
  const targets = await serversOn(to.context, to.host, to.change.release)
  const made: Replacements['swaps'] = []
  const pairs = names.flatMap((name) => {
    const of = (list: readonly NamedServer[]) => list.find((each) => each.name === name)?.database
    const [source, target] = [of(sources), of(targets)]
    return source && target ? [{ name, source, target }] : []
  })
  for (const pair of pairs) await requireOwnDatabases(from, to, pair)
  try {
    for (const { name, source, target } of pairs) {
      const fresh = scratchName(target.at.database, randomBytes(4).toString('hex'))
      const title = `copy ${name} of ${from.context.deployment.name}`
      if (currentRun().options.dryRun) {
        currentRun().emit({ type: 'held-back', host: to.host.name, display: title })
        continue
      }
      await inStep(title, to.host.name, () =>
        source.engine.copy({ host: from.host, at: source.at }, { host: to.host, at: target.at }, fresh),
      )
      made.push({ name, database: target, fresh, kept: keptName(target.at.database, new Date()) })
      if (scrub?.name !== name) continue
      await inStep(`scrub ${name} with ${scrub.file}`, to.host.name, () =>
        target.engine.runSql(to.host, { ...target.at, database: fresh }, scrub.sql),
      )
    }
  } catch (error) {
    await dropCopies(to.host, made)
    throw error
  }
  return made
}

/** Those that have not been put in place: their names are gone where they have. */
async function dropCopies(host: Host, made: Replacements['swaps']): Promise<void> {
  for (const { database, fresh } of made) {
    await evenIfAborted(() => database.engine.drop(host, database.at, fresh)).catch(() => {})
  }
}

/** A verified copy of each SQLite file on the target's host, scrubbed. `tidy` removes what nobody needs afterwards. */
async function copyFiles(
  from: End,
  to: End,
  names: readonly string[],
  scrub: Scrubbing | undefined,
): Promise<{ puts: Replacements['puts']; tidy: () => Promise<void> }> {
  const nothing = { puts: [], tidy: async () => {} }
  const { databases } = from.context.deployment.app
  const files = names.filter((name) => databases[name]?.kind === 'sqlite')
  if (files.length === 0) return nothing
  const manifest = await inStep(`copy the databases of ${from.context.deployment.name}`, from.host.name, () =>
    takeBackup(from.context, from.host, from.change, (name) => files.includes(name)),
  )
  if (!manifest) return nothing
  const taken = `${from.change.facts.app.backups}/${manifest.id}`
  // Of another deployment, and before it was scrubbed: on no account is it left on the target's host.
  const ours = `${to.change.facts.app.backups}/clone-${to.context.deployment.name}`
  const temporary = `${ours}--${manifest.id}`
  const tidy = async () => {
    await evenIfAborted(async () => {
      await to.host.run(sh`rm -rf ${temporary}`, { quiet: true, nothrow: true })
    }).catch(() => {})
  }
  try {
    // With the lock held, another one is what a lost connection has left.
    const command = sh`rm -rf -- ${ours}--*; umask 077; mkdir -p ${temporary}`
    await to.host.script([{ name: 'a folder for the copies', command }], { guard: to.change.guard })
    const puts: Replacements['puts'] = []
    for (const [name, { file, bytes, sha256 }] of Object.entries(manifest.databases)) {
      let path = `${taken}/${file}`
      if (from.host.name !== to.host.name) {
        await inStep(`carry ${name} from ${from.host.name}`, to.host.name, () =>
          carryFile(from.host, path, to.host, `${temporary}/${file}`, { bytes, sha256 }),
        )
        path = `${temporary}/${file}`
      }
      if (scrub?.name === name) {
        const sql = `${temporary}/scrub.sql`
        await to.host.write(sql, scrub.sql, { mode: 0o600 })
        const title = `scrub ${name} with ${scrub.file}`
        const command = scrubDatabase(path, `${temporary}/scrubbed-${file}`, sql)
        await to.host.script([{ name: title, command }], { guard: to.change.guard }).catch(async (error: unknown) => {
          const at = { kind: 'sqlite' as const, database: path }
          throw await explained(error, to.host, new Map([[title, at]]), `${to.context.deployment.name} is as it was.`)
        })
        path = `${temporary}/scrubbed-${file}`
      }
      puts.push({ name, file: path, ...(scrub?.name === name ? {} : { sha256 }) })
    }
    return { puts, tidy }
  } catch (error) {
    await tidy()
    throw error
  }
}

/** Shared folders that are neither databases' nor spools: uploads of visitors, mostly. */
function mediaFolders(app: VpsContext['deployment']['app']): string[] {
  const files = Object.values(app.databases).flatMap((each) => (each.kind === 'sqlite' ? [each.path] : []))
  return Object.entries(app.shared)
    .filter(([path, kind]) => kind === 'directory' && !app.spools.includes(path))
    .map(([path]) => path)
    .filter((path) => !files.some((file) => file.startsWith(`${path}/`)))
}

async function copyMedia(from: End, to: End): Promise<void> {
  const [source, target] = [from.change.release.shared, to.change.release.shared]
  const folders = mediaFolders(from.context.deployment.app)
  if (folders.length === 0) return
  if (from.host.name !== to.host.name) {
    for (const path of folders) {
      await inStep(`carry ${path} from ${from.host.name}`, to.host.name, () =>
        carryFolder(from.host, `${source}/${path}`, to.host, `${target}/${path}`),
      )
    }
    return
  }
  await to.host.script(
    folders.map((path) => ({
      name: `copy ${path}`,
      command: sh`[ ! -d ${source}/${path} ] || { mkdir -p ${target}/${path}; rsync -a --delete ${`${source}/${path}/`} ${`${target}/${path}/`}; }`,
    })),
    { guard: to.change.guard },
  )
}
