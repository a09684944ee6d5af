/** Databases on a server in a promotion: which there are, and the steps that copy, fence and place them by their names. */
import { currentRun, SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import { type DatabaseAddress, fencedName, keptName, scratchName } from '../database/engine.ts'
import { perform, readFacts } from '../database/engine-run.ts'
import * as postgres from '../database/postgres-commands.ts'
import { postgresErrors } from '../database/postgres-errors.ts'
import { serverDatabase, writePassword } from '../database/servers.ts'

/** One database of production on a server. */
export interface ServerData {
  name: string
  kind: 'postgres'
  /** Without the file of its password, which lies in each change's own folder. */
  at: DatabaseAddress
  hasPassword: boolean
}

const credentialsIn = (folder: string): string => `${folder}/credentials`

/** Production's databases on servers, with their sizes. Rejects where one can't be copied. */
export async function serversOf(
  from: VpsContext,
  to: VpsContext,
  host: Host,
): Promise<{ servers: ServerData[]; bytes: Record<string, number> }> {
  const servers: ServerData[] = []
  const bytes: Record<string, number> = {}
  for (const [name, database] of Object.entries(to.deployment.app.databases)) {
    if (database.kind === 'sqlite') continue
    if (database.kind !== 'postgres') {
      throw new SlipwayError(
        'database-not-carried',
        `a promotion can't carry over ${name} yet: it is ${database.kind}`,
        {
          state: 'Nothing was changed.',
        },
      )
    }
    const found = await serverDatabase(to.config, name, database, '/nowhere')
    const { credentials: _, ...at } = found.at
    const theirs = from.deployment.app.databases[name]
    if (theirs?.kind === 'postgres') {
      const staging = (await serverDatabase(from.config, name, theirs, '/nowhere')).at
      if (staging.database === at.database && staging.host === at.host && staging.port === at.port) {
        throw new SlipwayError(
          'database-shared',
          `${from.deployment.name} and ${to.deployment.name} use one database: ${at.database}`,
          {
            state: 'Nothing was changed.',
            next: `Give ${from.deployment.name} its own: [${from.deployment.name}.databases].`,
          },
        )
      }
    }
    // A password for this one look alone: a plan leaves nothing on the host.
    const text = await perform(
      { host, at, what: `look at ${at.database}`, known: postgresErrors },
      sh`umask 077; f=$(mktemp) || exit 1; cat >"$f"; [ ! -s "$f" ] || export PGPASSFILE="$f"
(
${postgres.inspect(at)}
)
status=$?; rm -f -- "$f"; exit $status`,
      { kind: 'probe', input: found.password?.reveal() ?? '' },
    )
    const facts = readFacts(text)
    if (!facts.exists || !facts.canCreate) {
      throw new SlipwayError(
        facts.exists ? 'database-cannot-create' : 'database-missing',
        facts.exists
          ? `the user of ${at.database} may not make databases, and a copy is one`
          : `there is no database ${at.database}`,
        {
          host: host.name,
          state: 'Nothing was changed.',
          next: facts.exists ? `As its administrator: ALTER ROLE ${at.user ?? '…'} CREATEDB` : 'Make it first.',
        },
      )
    }
    bytes[at.database] = facts.bytes
    servers.push({ name, kind: 'postgres', at, hasPassword: found.password !== undefined })
  }
  return { servers, bytes }
}

/** Puts the passwords of the databases into the change's folder, for the host's script. */
export async function placePasswords(to: VpsContext, folder: string): Promise<void> {
  for (const [name, database] of Object.entries(to.deployment.app.databases)) {
    if (database.kind !== 'postgres') continue
    const command = writePassword(await serverDatabase(to.config, name, database, credentialsIn(folder)))
    if (command && !currentRun().options.dryRun) {
      await to.home().script([{ name: `the password of ${name}`, command }], { quiet: true })
    }
  }
}

/** What the host's steps need of one database in change `id`: names, and programs as shell text. Pure. */
export function serverEntry(server: ServerData, folder: string, id: string) {
  const at: DatabaseAddress = {
    ...server.at,
    ...(server.hasPassword ? { credentials: `${credentialsIn(folder)}/${server.name}.pgpass` } : {}),
  }
  const { database } = at
  const named = (name: string): DatabaseAddress => ({ ...at, database: name })
  const [fenced, scratch, scratchAgain] = [
    fencedName(database),
    scratchName(database, id),
    scratchName(database, `${id}again`),
  ]
  const names = {
    name: server.name,
    database,
    fenced,
    scratch,
    scratchAgain,
    list: postgres.databases(at).render(),
    dropScratch: postgres.drop(at, scratch).render(),
  }
  return {
    rehearse: {
      ...names,
      copy: postgres.copy(at, at, scratch).render(),
      again: postgres.copy(named(scratch), at, scratchAgain).render(),
      dropAgain: postgres.drop(at, scratchAgain).render(),
    },
    fence: { ...names, fence: postgres.fence(at).render(), unfence: postgres.unfence(at).render() },
    copy: {
      ...names,
      copy: postgres.copy(named(fenced), at, scratch).render(),
      place: postgres.swap(at, scratch, keptName(database, timeOf(id))).render(),
      dropCopy: postgres.drop(at, database).render(),
    },
    keep: { ...names, keep: postgres.swap(named(keptName(database, timeOf(id))), fenced, fenced).render() },
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
