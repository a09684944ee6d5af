/** The engine's interface over the programs of one kind of server: each operation a command on its host. */
import type { Host } from '../../../hosts/host.ts'
import type { Command } from '../../../shell/index.ts'
import {
  type AppliedMigrations,
  besideOf,
  type DatabaseAddress,
  type DatabaseEngine,
  type EngineCommands,
  fencedName,
  readCounts,
} from './engine.ts'
import type { Known } from './engine-errors.ts'
import { copyBetween, oneHost, perform, readDump, readFacts, requireOurs, type Work } from './engine-run.ts'

/** Its programs, beside those that a script on a host has as well. */
export interface ServerCommands extends EngineCommands {
  checksums(at: DatabaseAddress): Command
  createEmpty(at: DatabaseAddress, name: string): Command
  /** A consistent archive on standard output, its rows on standard error. */
  send(at: DatabaseAddress): Command
  /** A new database from what `send` printed. */
  receive(at: DatabaseAddress, name: string): Command
  endSessions(at: DatabaseAddress): Command
  /** The names of all databases, one a line. */
  databases(at: DatabaseAddress): Command
  migrations(at: DatabaseAddress): Command
  runSql(at: DatabaseAddress): Command
  shell(at: DatabaseAddress): Command
}

/** What tells one kind of server from the other. */
export interface ServerKind {
  kind: 'postgres' | 'mysql'
  commands: ServerCommands
  /** What its programs say when something fails. */
  known: readonly Known[]
  readChecksums(text: string, at: DatabaseAddress): Record<string, string>
  readMigrations(text: string): AppliedMigrations
  /** What is true when a swap, or taking a fence away, has failed. */
  afterSwap(at: DatabaseAddress): string
  afterUnfence(at: DatabaseAddress): string
}

export const untouched = (at: DatabaseAddress): string => `${at.database} is as it was, and goes on.`

export function serverEngine(server: ServerKind): DatabaseEngine {
  const { kind, commands, known } = server
  const work = (host: Host, at: DatabaseAddress, what: string, state?: string): Work => ({
    host,
    at,
    what,
    known,
    ...(state === undefined ? {} : { state }),
  })
  const read = (host: Host, at: DatabaseAddress, what: string, command: Command): Promise<string> =>
    perform(work(host, at, what), command, { kind: 'probe' })

  const engine: DatabaseEngine = {
    kind,
    commands,
    inspect: async (host, at) => readFacts(await read(host, at, `look at ${at.database}`, commands.inspect(at))),
    counts: async (host, at) =>
      readCounts(await read(host, at, `count the rows of ${at.database}`, commands.counts(at))),
    checksums: async (host, at) =>
      server.readChecksums(await read(host, at, `add up the rows of ${at.database}`, commands.checksums(at)), at),
    async createEmpty(host, at, name) {
      await perform(work(host, at, `create ${name}`), commands.createEmpty(at, name))
    },
    async dump(host, at, file) {
      const text = await perform(work(host, at, `dump ${at.database}`, untouched(at)), commands.dump(at, file))
      return readDump(file, text)
    },
    async verifyDump(host, file) {
      const at: DatabaseAddress = { kind, database: file }
      return readDump(file, await read(host, at, `read ${file}`, commands.verifyDump(file)))
    },
    async restoreInto(host, at, file, name) {
      const command = commands.restoreInto(at, file, name)
      return readCounts(await perform(work(host, at, `restore ${file}`, untouched(at)), command))
    },
    async copy(from, to, name) {
      const what = `copy ${from.at.database} to ${name}`
      const target = work(to.host, to.at, what, `${from.at.database} and ${to.at.database} are as they were.`)
      if (oneHost(from, to)) return readCounts(await perform(target, commands.copy(from.at, to.at, name)))
      const source = work(from.host, from.at, `read ${from.at.database}`, untouched(to.at))
      const total = (await engine.inspect(from.host, from.at)).bytes
      const ways = {
        send: commands.send(from.at),
        receive: commands.receive(to.at, name),
        drop: commands.drop(to.at, name),
      }
      return copyBetween(source, target, ways, total)
    },
    async swap(host, at, fresh, kept) {
      const what = `put ${fresh} in place of ${at.database}`
      await perform(work(host, at, what, server.afterSwap(at)), commands.swap(at, fresh, kept))
    },
    async fence(host, at) {
      await perform(work(host, at, `fence ${at.database}`, untouched(at)), commands.fence(at))
      return fencedName(at.database)
    },
    async unfence(host, at) {
      await perform(work(host, at, `open ${at.database} again`, server.afterUnfence(at)), commands.unfence(at))
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
    migrations: async (host, at) =>
      server.readMigrations(await read(host, at, `read the migrations of ${at.database}`, commands.migrations(at))),
    async runSql(host, at, sql) {
      await perform(work(host, at, `run SQL in ${at.database}`), commands.runSql(at), { input: sql })
    },
    shell: commands.shell,
  }
  return engine
}
