/** MySQL and MariaDB behind the engine's interface: their client and dump programs on the host. */
import type { Host } from '../../../hosts/host.ts'
import { type Command, Secret } from '../../../shell/index.ts'
import { besideOf, type DatabaseAddress, type DatabaseEngine, fencedName, readCounts } from './engine.ts'
import { copyBetween, oneHost, perform, readDump, readFacts, requireOurs, type Work } from './engine-run.ts'
import * as commands from './mysql-commands.ts'
import { mysqlErrors } from './mysql-errors.ts'

const work = (host: Host, at: DatabaseAddress, what: string, state?: string): Work => ({
  host,
  at,
  what,
  known: mysqlErrors,
  ...(state === undefined ? {} : { state }),
})

const read = (host: Host, at: DatabaseAddress, what: string, command: Command): Promise<string> =>
  perform(work(host, at, what), command, { kind: 'probe' })

const untouched = (at: DatabaseAddress): string => `${at.database} is as it was, and goes on.`

export const mysql: DatabaseEngine = {
  kind: 'mysql',
  commands,
  inspect: async (host, at) => readFacts(await read(host, at, `look at ${at.database}`, commands.inspect(at))),
  counts: async (host, at) => readCounts(await read(host, at, `count the rows of ${at.database}`, commands.counts(at))),
  async checksums(host, at) {
    const text = await read(host, at, `add up the rows of ${at.database}`, commands.checksums(at))
    const start = `${at.database}.`.length
    return Object.fromEntries(
      [...text.matchAll(/^(.+)\t(\S+)$/gm)].map((match) => [(match[1] as string).slice(start), match[2] as string]),
    )
  },
  async createEmpty(host, at, name) {
    await perform(work(host, at, `create ${name}`), commands.createEmpty(at, name))
  },
  async dump(host, at, file) {
    const text = await perform(work(host, at, `dump ${at.database}`, untouched(at)), commands.dump(at, file))
    return readDump(file, text)
  },
  async verifyDump(host, file) {
    const at: DatabaseAddress = { kind: 'mysql', database: file }
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
    const total = (await mysql.inspect(from.host, from.at)).bytes
    const ways = {
      send: commands.send(from.at),
      receive: commands.receive(to.at, name),
      drop: commands.drop(to.at, name),
    }
    return copyBetween(source, target, ways, total)
  },
  async swap(host, at, fresh, kept) {
    const state = 'Its tables are all as they were; what is said of triggers above is so.'
    await perform(work(host, at, `put ${fresh} in place of ${at.database}`, state), commands.swap(at, fresh, kept))
  },
  async fence(host, at) {
    await perform(work(host, at, `fence ${at.database}`, untouched(at)), commands.fence(at))
    return fencedName(at.database)
  },
  async unfence(host, at) {
    const state = `Its tables are still in ${fencedName(at.database)}.`
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
    const rows = (kind: string) =>
      [...text.matchAll(new RegExp(`^${kind}\\t(.+)$`, 'gm'))].map((match) => match[1] as string)
    return { django: rows('django').map((row) => JSON.parse(row)), alembic: rows('alembic') }
  },
  async runSql(host, at, sql) {
    await perform(work(host, at, `run SQL in ${at.database}`), commands.runSql(at), { input: sql })
  },
  shell: commands.shell,
}

/** The text of a defaults-extra-file. Within its double quotes only the backslash is special. */
export function passwordFile(at: DatabaseAddress, password: string): Secret {
  const field = (text: string) => `"${text.replaceAll('\\', '\\\\')}"`
  const user = at.user === undefined ? '' : `user=${field(at.user)}\n`
  return new Secret(`[client]\n${user}password=${field(password)}\n`, 'database password')
}
