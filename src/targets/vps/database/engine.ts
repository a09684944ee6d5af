/**
 * What every kind of database can do on a host, behind one interface. Each operation is a command that runs there
 * whole: a host's own script (a backup at night, a promotion's window) can run it without an operator. No operation
 * gives up the old database before the new one has been read from end to end.
 */
import { createHash } from 'node:crypto'
import type { Host } from '../../../hosts/host.ts'
import type { Command } from '../../../shell/index.ts'

/** Where a database is, as seen from a host. Holds no password: that is in the file `credentials`. */
export interface DatabaseAddress {
  kind: 'sqlite' | 'postgres' | 'mysql'
  /** Its name on its server; SQLite: the file's absolute path. */
  database: string
  /** A name, an address, or an absolute path: the folder (PostgreSQL) or file (MySQL) of its socket. */
  host?: string
  port?: number
  user?: string
  /** A file on the host, 0600, with the password: PGPASSFILE or MySQL's defaults-extra-file. */
  credentials?: string
}

export interface Located {
  host: Host
  at: DatabaseAddress
}

/** Rows by table, from one snapshot. PostgreSQL's tables are `schema.table`. */
export type Counts = Readonly<Record<string, number>>

export interface DatabaseFacts {
  exists: boolean
  /** On disk, with indexes. 0 where it does not exist. */
  bytes: number
  /** False: it is there and refuses connections. */
  accepts: boolean
  /** Other sessions in it, as `user@address program`. */
  sessions: string[]
  /** What tells one server from another, and one database from another that has the same name. */
  server: string
  identity: string
  version: string
  /** Whether this user may create databases, and so restore and copy. */
  canCreate: boolean
  tables: number
}

export interface Dump {
  file: string
  bytes: number
  sha256: string
  /** Rows that were found in the file, which was read from end to end. */
  counts: Counts
}

export interface AppliedMigrations {
  /** In the order in which they were applied. `applied` is an ISO time. */
  django: { app: string; name: string; applied: string }[]
  /** Heads. */
  alembic: string[]
}

export interface DatabaseEngine {
  readonly kind: DatabaseAddress['kind']
  inspect(host: Host, at: DatabaseAddress): Promise<DatabaseFacts>
  counts(host: Host, at: DatabaseAddress): Promise<Counts>
  /** A number by table that differs when its rows differ, in whatever order they lie. Reads everything. */
  checksums(host: Host, at: DatabaseAddress): Promise<Record<string, string>>
  /** An empty database with the owner, encoding and settings of `at`, if that exists. */
  createEmpty(host: Host, at: DatabaseAddress, name: string): Promise<void>
  /** Consistent while the app writes; written beside, read whole, compared with its snapshot, then renamed. */
  dump(host: Host, at: DatabaseAddress, file: string): Promise<Dump>
  /** Reads the whole file. Needs no server. */
  verifyDump(host: Host, file: string): Promise<Dump>
  /** Into a new database, compared with the file; dropped again where anything fails. Returns what is in it. */
  restoreInto(host: Host, at: DatabaseAddress, file: string, name: string): Promise<Counts>
  /**
   * A copy of `from` as a new database `name` beside `to`, compared with the snapshot it is of. On one host directly;
   * between hosts through the operator's machine, nothing of it on a disk there.
   */
  copy(from: Located, to: Located, name: string): Promise<Counts>
  /** `fresh` takes the name of `at`; what had it, if anything, is `kept` from now on. Ends the sessions in both. */
  swap(host: Host, at: DatabaseAddress, fresh: string, kept: string): Promise<void>
  /** Nobody who knows the database by its name can read or write it any more. Returns the name it has now. */
  fence(host: Host, at: DatabaseAddress): Promise<string>
  /** Takes the fence away. Already open is fine. */
  unfence(host: Host, at: DatabaseAddress): Promise<void>
  /** Ends all sessions in it. */
  endSessions(host: Host, at: DatabaseAddress): Promise<void>
  /** Databases that this tool made beside `at`: half-made ones, kept ones, a fenced one. */
  beside(host: Host, at: DatabaseAddress): Promise<Beside[]>
  /** Drops one of those that `beside` names; any other name is refused. */
  drop(host: Host, at: DatabaseAddress, name: string): Promise<void>
  migrations(host: Host, at: DatabaseAddress): Promise<AppliedMigrations>
  /** All or nothing where the database can. */
  runSql(host: Host, at: DatabaseAddress, sql: string): Promise<void>
  /** The interactive client, for `host.shell`. */
  shell(at: DatabaseAddress): Command
  readonly commands: EngineCommands
}

/**
 * The same as commands, for a script that runs on the host by itself. Each exits with 0 only when it is true; failures
 * are on standard error. None of them holds a secret.
 */
export interface EngineCommands {
  counts(at: DatabaseAddress): Command
  dump(at: DatabaseAddress, file: string): Command
  copy(from: DatabaseAddress, to: DatabaseAddress, name: string): Command
  swap(at: DatabaseAddress, fresh: string, kept: string): Command
  /** Exit 0 where it is fenced already. */
  fence(at: DatabaseAddress): Command
  unfence(at: DatabaseAddress): Command
  drop(at: DatabaseAddress, name: string): Command
  inspect(at: DatabaseAddress): Command
  verifyDump(file: string): Command
  restoreInto(at: DatabaseAddress, file: string, name: string): Command
}

export interface Beside {
  name: string
  what: 'unfinished' | 'kept' | 'fenced'
}

/** The most bytes that the name of a database can have: PostgreSQL 63, MySQL 64 characters. */
const longestName = 63
const marks = { unfinished: '_slipway_new_', kept: '_before_', fenced: '_slipway_fenced' } as const

/** The name of a database that is being made to replace `database`. `id` tells attempts apart. */
export const scratchName = (database: string, id: string): string =>
  derived(database, `${marks.unfinished}${plain(id)}`)

/** The name under which a replaced database is kept: `pony_before_20261127101500`, and milliseconds if there are any. */
export const keptName = (database: string, at: Date): string =>
  derived(
    database,
    `${marks.kept}${at
      .toISOString()
      .replace(/[-:T.Z]/g, '')
      .replace(/000$/, '')}`,
  )

/** What such a name ends with. */
const keptEnd = /_before_\d{14}(\d{3})?$/

export const fencedName = (database: string): string => derived(database, marks.fenced)

/** What `name` is to `database`, if this tool gave it. */
export function besideOf(database: string, name: string): Beside | undefined {
  const is = (suffix: string, pattern: RegExp, what: Beside['what']): Beside | undefined => {
    const at = name.lastIndexOf(suffix)
    if (at < 0) return undefined
    const end = name.slice(at)
    return pattern.test(end) && derived(database, end) === name ? { name, what } : undefined
  }
  return (
    is(marks.fenced, /^_slipway_fenced$/, 'fenced') ??
    is(marks.unfinished, /^_slipway_new_[a-z0-9]+$/, 'unfinished') ??
    is(marks.kept, keptEnd, 'kept')
  )
}

function derived(database: string, suffix: string): string {
  const whole = database + suffix
  if (Buffer.byteLength(whole) <= longestName) return whole
  // Two long names with the same beginning must not end up as one.
  const hash = createHash('sha256').update(database).digest('hex').slice(0, 8)
  let base = database
  while (Buffer.byteLength(`${base}_${hash}${suffix}`) > longestName) base = base.slice(0, -1)
  return `${base}_${hash}${suffix}`
}

const plain = (id: string): string => id.toLowerCase().replace(/[^a-z0-9]/g, '')

/** Tables whose numbers differ, as lines; empty where all are the same. */
export function differences(expected: Counts, found: Counts): string[] {
  const names = [...new Set([...Object.keys(expected), ...Object.keys(found)])].sort()
  return names
    .filter((name) => expected[name] !== found[name])
    .map((name) => `${name}: ${expected[name] ?? 'no table'} expected, ${found[name] ?? 'no table'} found`)
}

/** Lines `kind TAB name TAB value`, as the programs print them. */
export function readCounts(text: string): Counts {
  const counts: Record<string, number> = {}
  for (const line of text.split('\n')) {
    const match = /^rows\t(.+)\t(\d+)$/.exec(line)
    if (match) counts[match[1] as string] = Number(match[2])
  }
  return counts
}

/** A value that a program printed as `name TAB value`. */
export function readValue(text: string, name: string): string | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${name}\t`))
  return line?.slice(name.length + 1)
}

/** `postgres://user:password@host:port/name` taken apart. Throws a TypeError that shows none of it. */
export function readDatabaseUrl(url: string): { at: DatabaseAddress; password?: string } {
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    throw new TypeError('the URL of the database cannot be read')
  }
  const scheme = parsed.protocol.replace(/:$/, '').replace(/\+.*$/, '')
  const kind = /^postgres(ql)?$/.test(scheme) ? 'postgres' : /^(mysql2?|mariadb)$/.test(scheme) ? 'mysql' : undefined
  const database = decodeURIComponent(parsed.pathname.slice(1))
  if (!kind || !database) throw new TypeError('the URL of the database names no database, or an unknown kind')
  // A socket's folder is given as ?host=/run/postgresql or ?unix_socket=/run/mysqld/mysqld.sock.
  const host = parsed.searchParams.get('host') ?? parsed.searchParams.get('unix_socket') ?? parsed.hostname
  return {
    at: {
      kind,
      database,
      ...(host ? { host: host.replace(/^\[|\]$/g, '') } : {}),
      ...(parsed.port ? { port: Number(parsed.port) } : {}),
      ...(parsed.username ? { user: decodeURIComponent(parsed.username) } : {}),
    },
    ...(parsed.password ? { password: decodeURIComponent(parsed.password) } : {}),
  }
}
