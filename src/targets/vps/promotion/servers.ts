/** Databases on a server in a promotion: which there are, and the steps that copy, fence and place them by their names. */
import { randomBytes } from 'node:crypto'
import { currentRun, SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import { type DatabaseAddress, fencedName, keptName, scratchName } from '../database/engine.ts'
import { perform, readFacts } from '../database/engine-run.ts'
import * as mysql from '../database/mysql-commands.ts'
import { mysqlErrors } from '../database/mysql-errors.ts'
import * as postgres from '../database/postgres-commands.ts'
import { postgresErrors } from '../database/postgres-errors.ts'
import { serverDatabase, writePassword } from '../database/servers.ts'

/** One database of production on a server. */
export interface ServerData {
  name: string
  kind: 'postgres' | 'mysql'
  /** Without the file of its password, which lies in each change's own folder. */
  at: DatabaseAddress
  hasPassword: boolean
}

const credentialsIn = (folder: string): string => `${folder}/credentials`

/** What is done to databases of each kind, and where its password is. */
const kinds = {
  postgres: {
    commands: postgres,
    list: postgres.databases,
    known: postgresErrors,
    ending: 'pgpass',
  },
  // Renaming leaves an empty database: only one with tables counts as there.
  mysql: { commands: mysql, list: mysql.filled, known: mysqlErrors, ending: 'cnf' },
} as const

/** How production's databases are to get to the next release. */
export type Carrying = 'copy' | 'handover' | 'init'

/** Production's databases on servers, with their sizes. Rejects where one can't be carried so. */
export async function serversOf(
  from: VpsContext,
  to: VpsContext,
  host: Host,
  carrying: Carrying,
): Promise<{ servers: ServerData[]; bytes: Record<string, number> }> {
  const servers: ServerData[] = []
  const bytes: Record<string, number> = {}
  for (const [name, database] of Object.entries(to.deployment.app.databases)) {
    if (database.kind === 'sqlite') continue
    const look = `/tmp/slipway-look-${randomBytes(8).toString('hex')}`
    const found = await serverDatabase(to.config, name, database, look)
    const { credentials, ...at } = found.at
    const theirs = from.deployment.app.databases[name]
    if (theirs?.kind === database.kind && carrying !== 'handover') {
      const staging = (await serverDatabase(from.config, name, theirs, '/nowhere')).at
      if (staging.database === at.database && staging.host === at.host && staging.port === at.port) {
        throw new SlipwayError(
          'database-shared',
          `${from.deployment.name} and ${to.deployment.name} use one database: ${at.database}`,
          {
            state: 'Nothing was changed.',
            next: `Give ${from.deployment.name} its own: [${from.deployment.name}.databases]; or hand it over: database = handover in [${to.deployment.name}].`,
          },
        )
      }
    }
    const { commands, known } = kinds[database.kind]
    // A password for this one look alone: a plan leaves nothing on the host.
    const text = await perform(
      { host, at, what: `look at ${at.database}`, known },
      sh`umask 077; mkdir ${look} || exit 1; cat >${credentials ?? `${look}/none`}
(
${commands.inspect(found.at)}
)
status=$?; rm -rf -- ${look}; exit $status`,
      { kind: 'probe', input: found.password?.reveal() ?? '' },
    )
    const facts = readFacts(text)
    refuse(host, at, facts, carrying)
    bytes[at.database] = facts.bytes
    servers.push({ name, kind: database.kind, at, hasPassword: found.password !== undefined })
  }
  return { servers, bytes }
}

function refuse(host: Host, at: DatabaseAddress, facts: ReturnType<typeof readFacts>, carrying: Carrying): void {
  const here = { host: host.name, state: 'Nothing was changed.' }
  if (!facts.exists) {
    throw new SlipwayError('database-missing', `there is no database ${at.database}`, {
      ...here,
      next: 'Make it first.',
    })
  }
  if (!facts.canCreate) {
    const grant =
      at.kind === 'postgres'
        ? `ALTER ROLE ${at.user ?? '…'} CREATEDB`
        : `GRANT ALL ON \`${at.database.replaceAll('_', '\\_')}%\`.* TO '${at.user ?? '…'}'`
    throw new SlipwayError(
      'database-cannot-create',
      `the user of ${at.database} may not make databases, and a copy is one`,
      { ...here, next: `As its administrator: ${grant}` },
    )
  }
  if (carrying === 'init' && facts.tables > 0) {
    throw new SlipwayError('database-not-empty', `${at.database} is to be made anew, and has ${facts.tables} tables`, {
      ...here,
      next: 'Name an empty one in [production.databases]; or adopt the app that uses it: `tasks adopt_production`.',
    })
  }
  if (carrying !== 'init' && facts.tables === 0) {
    throw new SlipwayError('database-empty', `${at.database} has no tables: it can not be what production uses`, {
      ...here,
      next: 'See [app.databases] and the settings of production.',
    })
  }
}

/** Puts the passwords of the databases into the change's folder, for the host's script. */
export async function placePasswords(to: VpsContext, folder: string): Promise<void> {
  for (const [name, database] of Object.entries(to.deployment.app.databases)) {
    if (database.kind === 'sqlite') continue
    const command = writePassword(await serverDatabase(to.config, name, database, credentialsIn(folder)))
    if (command && !currentRun().options.dryRun) {
      await to.home().script([{ name: `the password of ${name}`, command }], { quiet: true })
    }
  }
}

/** What the host's steps need of one database in change `id`: names, and programs as shell text. Pure. */
export function serverEntry(server: ServerData, folder: string, id: string) {
  const { commands, list, ending } = kinds[server.kind]
  const at: DatabaseAddress = {
    ...server.at,
    ...(server.hasPassword ? { credentials: `${credentialsIn(folder)}/${server.name}.${ending}` } : {}),
  }
  const { database } = at
  const named = (name: string): DatabaseAddress => ({ ...at, database: name })
  const [fenced, scratch, scratchAgain] = [
    fencedName(database),
    scratchName(database, id),
    scratchName(database, `${id}again`),
  ]
  const kept = keptName(database, timeOf(id))
  const [dump, tried] = [`${folder}/${server.name}.before`, `${folder}/${server.name}.tried`]
  const names = {
    name: server.name,
    database,
    fenced,
    scratch,
    scratchAgain,
    list: list(at).render(),
    dropScratch: commands.drop(at, scratch).render(),
  }
  const rehearsal = {
    ...names,
    copy: commands.copy(at, at, scratch).render(),
  }
  return {
    rehearse: {
      ...rehearsal,
      again: commands.copy(named(scratch), at, scratchAgain).render(),
      dropAgain: commands.drop(at, scratchAgain).render(),
    },
    /** Handing over reads the database whole, where it will be changed. */
    rehearseHandover: {
      ...rehearsal,
      again: commands.dump(named(scratch), tried).render(),
      dropAgain: sh`rm -f -- ${tried}`.render(),
    },
    fence: { ...names, fence: commands.fence(at).render(), unfence: commands.unfence(at).render() },
    copy: {
      ...names,
      copy: commands.copy(named(fenced), at, scratch).render(),
      place: commands.swap(at, scratch, kept).render(),
      dropCopy: commands.drop(at, database).render(),
    },
    empty: {
      ...names,
      /** Prints `tables TAB n`, among others. */
      inspect: commands.inspect(at).render(),
      make: commands.createEmpty(at, scratch).render(),
      place: commands.swap(at, scratch, kept).render(),
      dropKept: commands.drop(at, kept).render(),
    },
    keep: { ...names, keep: commands.swap(named(kept), fenced, fenced).render() },
    handOver: {
      ...names,
      kept,
      dumpFile: dump,
      endSessions: commands.endSessions(at).render(),
      inspect: commands.inspect(at).render(),
      dump: commands.dump(at, dump).render(),
      restore: commands.restoreInto(at, dump, scratch).render(),
      place: commands.swap(at, scratch, kept).render(),
      dropKept: commands.drop(at, kept).render(),
    },
  }
}

/** The time that a change's id begins with. */
function timeOf(id: string): Date {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)/.exec(id)
  if (!match) return new Date(0)
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second))
}

/** Under which name the database that `id` replaced is kept. */
export const keptIn = (server: ServerData, id: string): string => keptName(server.at.database, timeOf(id))
