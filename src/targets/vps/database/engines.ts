/** What each kind of database is dumped, verified and put back with: commands for a host. */
import { randomBytes } from 'node:crypto'
import type { DatabaseConfig } from '../../../config/types.ts'
import { SlipwayError } from '../../../events/index.ts'
import { ScriptError } from '../../../hosts/errors.ts'
import type { Host } from '../../../hosts/host.ts'
import type { Command } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import type { ReleaseLayout } from '../layout.ts'
import type { DatabaseAddress } from './engine.ts'
import { explain, type Known } from './engine-errors.ts'
import type { ServerDatabase } from './servers.ts'
import { copyDatabase, putDatabase, sizes, tryDatabase } from './sqlite.ts'
import type { Watched } from './watch.ts'

export interface Engine {
  kind: DatabaseConfig['kind']
  role: 'data' | 'queue'
  /** What a backup calls its file. */
  fileName: string
  /** A consistent copy into `file` while the app writes; its last line of output is JSON: bytes, counts, sha256. */
  dump(file: string): Command
  /** Restores `file` into a scratch database, and prints the same. */
  verify(file: string): Command
  /**
   * Over the database, verified first; what was there is kept as `kept`. Nothing may be using it. `sha256`: of the file
   * when it was found whole.
   */
  put(file: string, kept: string, sha256?: string): Command
  size(): Command
  /** How far `verify` and `put` of `file` are. */
  progress: { verify(file: string): Progress; put(file: string): Progress }
  at: DatabaseAddress
  /** Of a database on a server. */
  server?: ServerDatabase
}

type Progress = Omit<Watched, 'label'>

/** A server reads the dump itself; how large the database gets by it, no file tells. */
const byReading: Engine['progress'] = { verify: (read) => ({ read }), put: (read) => ({ read }) }

/** A database on a server, with the name that the configuration gives it. */
export interface NamedServer {
  name: string
  database: ServerDatabase
}

const credentialsFolder = (release: ReleaseLayout): string => `${release.records}/credentials`

/** The engine of the database `name` in `release`. */
export async function engineFor(context: VpsContext, release: ReleaseLayout, name: string): Promise<Engine> {
  const config = context.deployment.app.databases[name]
  if (!config) {
    throw new SlipwayError('no-database', `[app.databases] has no ${name}`, { state: 'Nothing was changed.' })
  }
  if (config.kind === 'sqlite') return sqliteEngine(name, `${release.shared}/${config.path}`, config.role)
  const { backupCommands, serverDatabase } = await import('./servers.ts')
  const database = await serverDatabase(context.config, name, config, credentialsFolder(release))
  const commands = backupCommands(name, database, randomBytes(4).toString('hex'))
  return { ...commands, progress: byReading, at: database.at, server: database }
}

/** The same for a script on the host: no password is in its commands, but in the file that `password` writes. */
export async function scheduledEngine(
  context: VpsContext,
  release: ReleaseLayout,
  name: string,
): Promise<{ engine: Engine; password?: Command }> {
  const engine = await engineFor(context, release, name)
  if (engine.server === undefined) return { engine }
  const { backupCommands, writePassword } = await import('./servers.ts')
  const { password: _, ...database } = engine.server
  const password = writePassword(engine.server)
  return {
    engine: { ...backupCommands(name, database, 'scheduled'), progress: byReading, at: database.at },
    ...(password === undefined ? {} : { password }),
  }
}

function sqliteEngine(name: string, path: string, role: 'data' | 'queue'): Engine {
  return {
    kind: 'sqlite',
    at: { kind: 'sqlite', database: path },
    role,
    fileName: `${name}.sqlite`,
    dump: (file) => copyDatabase(path, file),
    verify: (file) => tryDatabase(file),
    put: (file, kept, sha256) => putDatabase(file, path, `${kept}.sqlite`, sha256),
    size: () => sizes([path]),
    progress: {
      verify: (source) => ({ file: `${source}.trial`, source }),
      put: (source) => ({ file: `${path}.new`, source }),
    },
  }
}

/**
 * The databases that are on servers, in the order of the configuration, ready to be asked from `host`: the files with
 * their passwords are there when it resolves.
 */
export async function serversOn(context: VpsContext, host: Host, release: ReleaseLayout): Promise<NamedServer[]> {
  const configured = Object.entries(context.deployment.app.databases)
  if (configured.every(([, config]) => config.kind === 'sqlite')) return []
  const { serverDatabase, writePassword } = await import('./servers.ts')
  const found: NamedServer[] = []
  for (const [name, config] of configured) {
    if (config.kind === 'sqlite') continue
    found.push({ name, database: await serverDatabase(context.config, name, config, credentialsFolder(release)) })
  }
  const steps = found.flatMap(({ name, database }) => {
    const command = writePassword(database)
    return command === undefined ? [] : [{ name: `the password of ${name}`, command }]
  })
  // Needed for reading, too, and so in a dry run.
  if (steps.length > 0) await host.script(steps, { kind: 'probe', quiet: true })
  return found
}

/** What the programs of a kind of database say when something fails. */
export async function knownErrors(kind: DatabaseAddress['kind']): Promise<readonly Known[]> {
  if (kind === 'sqlite') return (await import('./sqlite-errors.ts')).sqliteErrors
  return kind === 'postgres'
    ? (await import('./postgres-errors.ts')).postgresErrors
    : (await import('./mysql-errors.ts')).mysqlErrors
}

/**
 * What a failed step of a script failed of, in its database's words: its code, what is true now, what to type next.
 * `steps` says which database each step is of; other errors are handed back as they are. `state` in place of: it is as
 * it was.
 */
export async function explained(
  error: unknown,
  host: Pick<Host, 'name'>,
  steps: ReadonlyMap<string, DatabaseAddress>,
  state?: string,
): Promise<unknown> {
  const step = error instanceof ScriptError ? error.step : undefined
  const at = step && steps.get(step.name)
  if (step === undefined || at === undefined) return error
  const attempt = { what: step.name, host: host.name, at, state: state ?? `${at.database} is as it was.` }
  return explain(attempt, step.stderr, step.exitCode, await knownErrors(at.kind), error)
}
