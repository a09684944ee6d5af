/** A real PostgreSQL for a test: a cluster of its own in a temp folder, on a socket and a free loopback port. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { answering } from './database.ts'
import { freePort } from './ports.ts'

export interface Postgres {
  /** The folder of its socket; what libpq takes as host. */
  readonly socket: string
  readonly address: string
  readonly port: number
  readonly superuser: string
  readonly dir: string
  readonly pid: number
  /** As the superuser, through the socket; rows as lines, columns by `|`. Throws what psql said. */
  sql(text: string, database?: string): string
  /** A session of the superuser, for what one has to hold: `stdin` takes SQL, `stdout` has what it says. */
  session(database?: string): ChildProcessWithoutNullStreams
  stop(): Promise<void>
}

/** The newest server that is installed. */
function programs(): string {
  const root = '/usr/lib/postgresql'
  const versions = readdirSync(root).sort((one, other) => Number(other) - Number(one))
  return `${root}/${versions[0]}/bin`
}

/**
 * `trust` on the socket for the superuser alone; a password (scram) for everyone over TCP. `settings` are lines for
 * postgresql.conf. A server refuses to run as root, so as root it runs as the user `postgres`.
 */
export async function startPostgres(options: { settings?: string[] } = {}): Promise<Postgres> {
  const dir = mkdtempSync('/tmp/slipway-pg-')
  const bin = programs()
  const superuser = 'keeper'
  const asRoot = process.getuid?.() === 0
  const ids = asRoot ? ownerIds('postgres') : {}
  if (ids.uid !== undefined && ids.gid !== undefined) chownSync(dir, ids.uid, ids.gid)
  chmodSync(dir, 0o755)
  const data = join(dir, 'data')
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' }
  execFileSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', superuser, '-E', 'UTF8', '--locale=C.UTF-8', '--auth=trust', '--no-sync'],
    { ...ids, env, cwd: dir, stdio: 'pipe' },
  )
  const address = '127.0.0.1'
  const port = await freePort(address)
  writeFileSync(
    join(data, 'pg_hba.conf'),
    `local all ${superuser} trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n`,
  )
  writeFileSync(
    join(data, 'postgresql.conf'),
    [
      `listen_addresses = '${address}'`,
      `port = ${port}`,
      `unix_socket_directories = '${dir}'`,
      'fsync = off',
      'max_connections = 40',
      'shared_buffers = 64MB',
      ...(options.settings ?? []),
    ].join('\n'),
  )
  const log = join(dir, 'log')
  writeFileSync(log, '')
  if (ids.uid !== undefined && ids.gid !== undefined) chownSync(log, ids.uid, ids.gid)
  const child = spawn('/bin/sh', ['-c', 'exec "$0" -D "$1" >>"$2" 2>&1', join(bin, 'postgres'), data, log], {
    ...ids,
    env,
    cwd: dir,
    stdio: 'ignore',
  })
  const sql = (text: string, database = 'postgres') =>
    execFileSync(
      join(bin, 'psql'),
      ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', dir, '-p', String(port), '-U', superuser, '-d', database],
      { input: text, encoding: 'utf8', env, stdio: ['pipe', 'pipe', 'pipe'] },
    ).trimEnd()
  const session = (database = 'postgres') =>
    spawn('psql', ['-X', '-q', '-h', dir, '-p', String(port), '-U', superuser, '-d', database])
  const stop = await answering({ name: 'PostgreSQL', child, dir, log, signal: 'SIGQUIT', ask: () => sql('SELECT 1') })
  return {
    socket: dir,
    address,
    port,
    superuser,
    dir,
    pid: child.pid as number,
    sql,
    session,
    stop,
  }
}

export function ownerIds(user: string): { uid?: number; gid?: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}
