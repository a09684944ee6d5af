/**
 * Data that others took the place of: kept by restores, clones, `init_db` and promotions, until somebody has it deleted.
 * The newest of each database always stays, and nothing goes unless what replaced it is read from end to end.
 */
import { currentRun, restated, SlipwayError, UsageError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import { fileSize } from '../../status-text.ts'
import { audited, beginChange } from '../change.ts'
import type { VpsContext } from '../context.ts'
import { hostFacts, requireRelease } from '../facts.ts'
import { inStep } from '../step.ts'
import { explained, type NamedServer, serversOn } from './engines.ts'
import { databaseHost, sqliteFiles } from './index.ts'
import { checkDatabase } from './sqlite.ts'

/** A folder of files, or a database on its server. */
export interface Kept {
  /** The folder's path, or the database's name. */
  name: string
  /** The names in [app.databases] of what it holds; none where a restore failed before it replaced anything. */
  databases: readonly string[]
  /** When it was replaced; any text that sorts. */
  at: string
  bytes?: number
  server?: NamedServer
}

/** Those of which each database has `keep` newer ones. What holds a database that is not in `known` stays. Pure. */
export function olderThanNewest(kept: readonly Kept[], keep: number, known: readonly string[]): Kept[] {
  const later = (one: Kept, other: Kept) => one.at > other.at || (one.at === other.at && one.name > other.name)
  const newerOnes = (each: Kept, database: string) =>
    kept.filter((other) => other !== each && other.databases.includes(database) && later(other, each)).length
  return kept.filter((each) =>
    each.databases.every((database) => known.includes(database) && newerOnes(each, database) >= keep),
  )
}

/**
 * Deletes what was replaced, but for the newest `keep` of each database (1 unless given); asks first. Resolves with the
 * folders and databases deleted: none in a dry run, which names them.
 */
export async function pruneReplaced(context: VpsContext, options: { keep?: number } = {}): Promise<string[]> {
  const run = currentRun()
  const { keep = 1 } = options
  const { name, app } = context.deployment
  if (!Number.isInteger(keep) || keep < 1) {
    throw new UsageError('bad-value', `keep=${keep}: the newest of each database always stays, so it is 1 or more`)
  }
  const host = databaseHost(context)
  const facts = await hostFacts(context.deployment, host)
  const release = requireRelease(context.deployment, facts, host)
  const found = [
    ...(await keptFolders(host, facts.app.backups, name)),
    ...(await keptDatabases(host, await serversOn(context, host, release))),
  ]
  const old = olderThanNewest(found, keep, Object.keys(app.databases))
  for (const each of old) {
    const size = each.bytes === undefined ? '' : ` (${fileSize(each.bytes)})`
    run.emit({ type: 'note', host: host.name, text: `to be deleted: ${each.name}${size}` })
  }
  if (old.length === 0) {
    run.emit({ type: 'note', host: host.name, text: `nothing to delete: ${found.length} kept, the newest stay` })
  }
  if (old.length === 0 || run.options.dryRun || run.options.planOnly) return []
  const question = `This deletes data that ${name} had before. Type ${name} to go on:`
  if (!run.options.yes && !(await run.prompter.confirmTyped(question, name))) {
    throw new SlipwayError('declined', 'nothing was deleted: it was declined', { state: 'Nothing was changed.' })
  }
  return audited(context, `delete ${old.length} replaced ${old.length === 1 ? 'set' : 'sets'} of data`, async () => {
    const change = await beginChange(context, host, `prune what was replaced in ${name}`)
    const needed = new Set(old.flatMap(({ databases }) => databases))
    await requireWhole(context, host, release, needed)
    const folders = old.filter(({ server }) => server === undefined)
    if (folders.length > 0) {
      await host.script(
        folders.map(({ name: folder, databases }) => ({
          name: `delete ${folder}`,
          // An empty one may have been filled since it was looked at.
          command: databases.length === 0 ? sh`rmdir ${folder} 2>/dev/null || :` : sh`rm -rf -- ${folder}`,
        })),
        { guard: change.guard },
      )
    }
    for (const { name: database, server } of old) {
      if (server === undefined) continue
      await inStep(`drop ${database}`, host.name, () => server.database.engine.drop(host, server.database.at, database))
    }
    return old.map((each) => each.name)
  })
}

/** Reads those that are in use; rejects with what is wrong with one, in its database's words. */
async function requireWhole(
  context: VpsContext,
  host: Host,
  release: Parameters<typeof sqliteFiles>[1],
  names: ReadonlySet<string>,
): Promise<void> {
  const state = 'Nothing was deleted: what it replaced may be needed.'
  for (const { name, path } of sqliteFiles(context, release).filter((file) => names.has(file.name))) {
    const title = `read ${name}, which took its place`
    await host
      .script([{ name: title, command: checkDatabase(path), hidden: true }], { kind: 'probe' })
      .catch(async (error: unknown) => {
        throw await explained(error, host, new Map([[title, { kind: 'sqlite', database: path }]]), state)
      })
  }
  for (const { name, database } of await serversOn(context, host, release)) {
    if (!names.has(name)) continue
    await inStep(`read ${name}, which took its place`, host.name, async () => {
      await database.engine.counts(host, database.at).catch((error: unknown) => {
        throw error instanceof SlipwayError ? restated(error, state) : error
      })
    })
  }
}

/** `replaced-staging-20261127T101500-ab12cd-12ef`, `before-init-staging-20261127T101500-ab12cd`. */
const folderOf = (deployment: string, name: string): boolean => {
  const begin = [`replaced-${deployment}-`, `before-init-${deployment}-`].find((each) => name.startsWith(each))
  return begin !== undefined && /^\d{8}T\d{6}-[0-9a-f]{6}(-[0-9a-f]{4})?$/.test(name.slice(begin.length))
}

async function keptFolders(host: Host, backups: string, deployment: string): Promise<Kept[]> {
  const look = sh`cd ${backups} 2>/dev/null || exit 0
for d in replaced-${deployment}-* before-init-${deployment}-*; do
  [ -d "$d" ] || continue
  printf '%s\t%s\t%s\t' "$d" "$(stat -c %Y "$d")" "$(du -sk "$d" | cut -f 1)"
  ls "$d" | tr '\n' '\t'; echo
done`
  const lines = await host.run(look, { kind: 'probe', quiet: true, label: 'what was replaced' }).lines()
  return lines.flatMap((line): Kept[] => {
    const [name = '', at = '', kilobytes = '', ...files] = line.split('\t')
    if (!folderOf(deployment, name)) return []
    const databases = files.flatMap((file) => /^(.+)\.sqlite$/.exec(file)?.[1] ?? [])
    return [{ name: `${backups}/${name}`, databases, at: at.padStart(12, '0'), bytes: Number(kilobytes) * 1024 }]
  })
}

async function keptDatabases(host: Host, servers: readonly NamedServer[]): Promise<Kept[]> {
  const found: Kept[] = []
  for (const server of servers) {
    const beside = await server.database.engine.beside(host, server.database.at)
    for (const { name, what } of beside) {
      const at = /_(\d{14,17})$/.exec(name)?.[1]
      if (what === 'kept' && at !== undefined)
        found.push({ name, databases: [server.name], at: at.padEnd(17, '0'), server })
    }
  }
  return found
}
