/** PostgreSQL behind the engine's interface: psql, pg_dump and pg_restore on the host, one round trip an operation. */
import type { Host } from '../../../hosts/host.ts'
import { type Command, Secret } from '../../../shell/index.ts'
import { besideOf, type DatabaseAddress, type DatabaseEngine, fencedName, readCounts, readValue } from './engine.ts'
import { copyBetween, oneHost, perform, readDump, readFacts, requireOurs, type Work } from './engine-run.ts'
import * as commands from './postgres-commands.ts'
import { postgresErrors } from './postgres-errors.ts'

const work = (host: Host, at: DatabaseAddress, what: string, state?: string): Work => ({
  host,
  at,
  what,
  known: postgresErrors,
  ...(state === undefined ? {} : { state }),
})

const read = (host: Host, at: DatabaseAddress, what: string, command: Command): Promise<string> =>
  perform(work(host, at, what), command, { kind: 'probe' })

const untouched = (at: DatabaseAddress): string => `${at.database} is as it was, and goes on.`

export const postgres: DatabaseEngine = {
  kind: 'postgres',
  commands,
  inspect: async (host, at) => readFacts(await read(host, at, `look at ${at.database}`, commands.inspect(at))),
  counts: async (host, at) => readCounts(await read(host, at, `count the rows of ${at.database}`, commands.counts(at))),
  async checksums(host, at) {
    const text = await read(host, at, `add up the rows of ${at.database}`, commands.checksums(at))
    return Object.fromEntries([...text.matchAll(/^sum\t(.+)\t(\S+)$/gm)].map((match) => [match[1], match[2]]))
  },
  async createEmpty(host, at, name) {
    await perform(work(host, at, `create ${name}`), commands.createEmpty(at, name))
  },
  async dump(host, at, file) {
    const text = await perform(work(host, at, `dump ${at.database}`, untouched(at)), commands.dump(at, file))
    return readDump(file, text)
  },
  async verifyDump(host, file) {
    const at: DatabaseAddress = { kind: 'postgres', database: file }
    return readDump(file, await read(host, at, `read ${file}`, commands.verifyDump(file)))
  },
  async restoreInto(host, at, file, name) {
    const text = await perform(work(host, at, `restore ${file}`, untouched(at)), commands.restoreInto(at, file, name))
    return readCounts(text)
  },
  async copy(from, to, name) {
    const what = `copy ${from.at.database} to ${name}`
    const target = work(to.host, to.at, what, `${from.at.database} and ${to.at.database} are as they were.`)
    if (oneHost(from, to)) return readCounts(await perform(target, commands.copy(from.at, to.at, name)))
    const source = work(from.host, from.at, `read ${from.at.database}`, untouched(to.at))
    const total = (await postgres.inspect(from.host, from.at)).bytes
    const ways = {
      send: commands.send(from.at),
      receive: commands.receive(to.at, name),
      drop: commands.drop(to.at, name),
    }
    return copyBetween(source, target, ways, total)
  },
  async swap(host, at, fresh, kept) {
    await perform(
      work(host, at, `put ${fresh} in place of ${at.database}`, untouched(at)),
      commands.swap(at, fresh, kept),
    )
  },
  async fence(host, at) {
    await perform(work(host, at, `fence ${at.database}`, untouched(at)), commands.fence(at))
    return fencedName(at.database)
  },
  async unfence(host, at) {
    const state = `It is still ${fencedName(at.database)}.`
    await perform(work(host, at, `open ${at.database} again`, state), commands.unfence(at))
  },
  async endSessions(host, at) {
    await perform(work(host, at, `end the sessions in ${at.database}`), commands.endSessions(at))
  },
  async beside(host, at) {
    const text = await read(host, at, `list what is beside ${at.database}`, commands.databases(at))
    return text.split('\n').flatMap((name) => besideOf(at.database, name) ?? [])
  },
  async drop(host, at, name) {
    requireOurs(at, name)
    await perform(work(host, at, `drop ${name}`), commands.drop(at, name))
  },
  async migrations(host, at) {
    const text = await read(host, at, `read the migrations of ${at.database}`, commands.migrations(at))
    return {
      django: JSON.parse(readValue(text, 'django') ?? '[]'),
      alembic: JSON.parse(readValue(text, 'alembic') ?? '[]'),
    }
  },
  async runSql(host, at, sql) {
    await perform(work(host, at, `run SQL in ${at.database}`), commands.runSql(at), { input: sql })
  },
  shell: commands.shell,
}

/** The file that PGPASSFILE names, for one user of any server: colons and backslashes are escaped. */
export function passwordFile(at: DatabaseAddress, password: string): Secret {
  const field = (text: string) => text.replace(/[\\:]/g, (char) => `\\${char}`)
  return new Secret(`*:*:*:${at.user === undefined ? '*' : field(at.user)}:${field(password)}\n`, 'database password')
}
