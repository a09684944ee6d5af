/** From the configuration to a database on a server: its address, its password's file, its engine. */
import { resolveText } from '../../../config/secrets.ts'
import type { Config, DatabaseConfig } from '../../../config/types.ts'
import { currentRun, SlipwayError, UsageError } from '../../../events/index.ts'
import { type Command, lines, raw, Secret, sh } from '../../../shell/index.ts'
import {
  type DatabaseAddress,
  type DatabaseEngine,
  type EngineCommands,
  keptName,
  readDatabaseUrl,
  scratchName,
} from './engine.ts'

export type ServerDatabaseConfig = Extract<DatabaseConfig, { kind: 'postgres' | 'mysql' }>

export interface ServerDatabase {
  at: DatabaseAddress
  role: 'data' | 'queue'
  engine: DatabaseEngine
  /** The content of the file that `at.credentials` names; undefined where the server asks for no password. */
  password?: Secret
}

/**
 * The database `name` as its host reaches it. `folder` on the host, absolute, is where its password is kept:
 * `FOLDER/NAME.pgpass` or `FOLDER/NAME.cnf`, for programs that run there without an operator, too. A password comes with
 * a URL (`postgres secret:DATABASE_URL`), or else from the server's own way of knowing users (peer, ~/.pgpass, ~/.my.cnf).
 */
export async function serverDatabase(
  config: Config,
  name: string,
  database: ServerDatabaseConfig,
  folder: string,
): Promise<ServerDatabase> {
  const resolved = await resolveText(config, database.database, `[app.databases] ${name}`)
  const text = typeof resolved === 'string' ? resolved : resolved.reveal()
  let named: ReturnType<typeof readDatabaseUrl> = { at: { kind: database.kind, database: text } }
  if (text.includes('://')) {
    try {
      named = readDatabaseUrl(text)
    } catch (error) {
      throw new UsageError('database-url', `[app.databases] ${name}: ${(error as Error).message}`, {
        next: 'Write it as postgres://USER:PASSWORD@HOST:PORT/NAME, or mysql://…, special characters as %XX.',
      })
    }
    if (named.at.kind !== database.kind) {
      throw new UsageError(
        'database-url',
        `[app.databases] ${name} says ${database.kind}, and its URL ${named.at.kind}`,
      )
    }
  }
  const at: DatabaseAddress = {
    ...named.at,
    ...(database.host === undefined ? {} : { host: database.host }),
    ...(database.port === undefined ? {} : { port: database.port }),
    ...(database.user === undefined ? {} : { user: database.user }),
  }
  const engine = await serverEngine(database.kind)
  if (named.password === undefined) return { at, role: database.role, engine }
  currentRun().secrets.add(new Secret(named.password, `password of ${name}`))
  const credentials = `${folder}/${name}.${database.kind === 'postgres' ? 'pgpass' : 'cnf'}`
  const { passwordFile } = database.kind === 'postgres' ? await import('./postgres.ts') : await import('./mysql.ts')
  return { at: { ...at, credentials }, role: database.role, engine, password: passwordFile(at, named.password) }
}

async function serverEngine(kind: 'postgres' | 'mysql'): Promise<DatabaseEngine> {
  return kind === 'postgres' ? (await import('./postgres.ts')).postgres : (await import('./mysql.ts')).mysql
}

/** Puts the password's file in place. Holds the password: for `host.script` alone, which sends it on standard input. */
export function writePassword({ at, password }: ServerDatabase): Command | undefined {
  if (at.credentials === undefined || password === undefined) return undefined
  const folder = at.credentials.slice(0, at.credentials.lastIndexOf('/'))
  return sh`umask 077
mkdir -p -- ${folder}
printf %s ${password} >${at.credentials}.new
mv -f -- ${at.credentials}.new ${at.credentials}`
}

/**
 * `command`, which reads the password in the file that `database.at.credentials` names: there while it runs, in a folder
 * of its own that must not be there yet. Holds the password: for `host.script` alone, which sends it on standard input.
 */
export function withPasswordFile(database: ServerDatabase, command: Command): Command {
  const write = writePassword(database)
  const file = database.at.credentials
  if (write === undefined || file === undefined) return command
  const folder = file.slice(0, file.lastIndexOf('/'))
  return sh`umask 077; mkdir ${folder} || exit 1
trap 'exit 1' HUP INT TERM PIPE; trap 'rm -rf -- "$credentials"' EXIT
credentials=${folder}
${write}
(
${command}
)`
}

/** What a backup does, as steps of a script; each prints one line of JSON: bytes, counts, sha256. */
export interface BackupCommands {
  kind: 'postgres' | 'mysql'
  role: 'data' | 'queue'
  fileName: string
  dump(file: string): Command
  /** Restores `file` into a scratch database, compares it with what it read in the file, and drops it again. */
  verify(file: string): Command
  /** Restores beside, compares, and puts it in place by renames; what was there stays on the server as `…_before_…`. */
  put(file: string): Command
  /** Prints the name of the database and its size, as JSON. */
  size(): Command
}

/** `id` (letters and digits) tells attempts apart. */
export function backupCommands(name: string, database: ServerDatabase, id: string, now = new Date()): BackupCommands {
  const { at, role, engine } = database
  const commands: EngineCommands = engine.commands
  const scratch = scratchName(at.database, id)
  const withPassword = (...parts: Command[]): Command => lines(writePassword(database), ...parts)
  if (engine.kind === 'sqlite') throw new SlipwayError('database-kind', 'SQLite is no server')
  return {
    kind: engine.kind,
    role,
    fileName: engine.kind === 'postgres' ? `${name}.pgdump` : `${name}.sql.gz`,
    dump: (file) => withPassword(asJson(commands.dump(at, file))),
    verify: (file) =>
      withPassword(
        alone(commands.restoreInto(at, file, scratch), '>/dev/null'),
        alone(commands.drop(at, scratch)),
        asJson(commands.verifyDump(file)),
      ),
    put: (file) =>
      withPassword(
        alone(commands.restoreInto(at, file, scratch), '>/dev/null'),
        alone(commands.swap(at, scratch, keptName(at.database, now))),
        asJson(commands.counts(at)),
      ),
    size: () =>
      withPassword(
        sh`out=$(
${commands.inspect(at)}
)
printf '%s\n' "$out" | awk -F '\t' ${sizeAsJson(at.database)}`,
      ),
  }
}

/** In a shell of its own: it ends with its own status, and its traps are its own. */
const alone = (command: Command, redirection = ''): Command => sh`(
${command}
)${raw(redirection)}`

const asJson = (command: Command): Command => sh`out=$(
${command}
)
printf '%s\n' "$out" | awk -F '\t' ${linesAsJson}`

const quoted = 'function q(s) { gsub(/\\\\/, "\\\\\\\\", s); gsub(/"/, "\\\\\\"", s); return "\\"" s "\\"" }\n'

const linesAsJson = `${quoted}$1 == "bytes" || $1 == "sha256" { said[$1] = $2 }
$1 == "rows" { counts = counts (counts == "" ? "" : ",") q($2) ":" $3 }
END { printf "{\\"bytes\\":%s,\\"sha256\\":%s,\\"counts\\":{%s}}\\n", said["bytes"] + 0, q(said["sha256"]), counts }`

const sizeAsJson = (database: string): string =>
  `${quoted}$1 == "bytes" { bytes = $2 } END { printf "{%s:%s}\\n", ${awkString(database)}, bytes + 0 }`

/** A JSON string as an awk string. */
const awkString = (text: string): string => JSON.stringify(JSON.stringify(text))
