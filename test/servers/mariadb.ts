/** A real MariaDB for a test: a data folder of its own, on a socket and a free loopback port. */
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { answering } from './database.ts'
import { freePort } from './ports.ts'
import { ownerIds } from './postgres.ts'

export interface Mariadb {
  readonly socket: string
  readonly address: string
  readonly port: number
  readonly dir: string
  readonly pid: number
  /** As root, through the socket; rows as lines, columns by tabs. Throws what the client said. */
  sql(text: string, database?: string): string
  stop(): Promise<void>
}

/** `root` comes in through the socket without a password. As root, the server runs as the user `mysql`. */
export async function startMariadb(options: { settings?: string[] } = {}): Promise<Mariadb> {
  const dir = mkdtempSync('/tmp/slipway-my-')
  const asRoot = process.getuid?.() === 0
  const ids = asRoot ? ownerIds('mysql') : {}
  chmodSync(dir, 0o755)
  const data = join(dir, 'data')
  mkdirSync(data)
  if (ids.uid !== undefined && ids.gid !== undefined) {
    chownSync(dir, ids.uid, ids.gid)
    chownSync(data, ids.uid, ids.gid)
  }
  execFileSync(
    'mariadb-install-db',
    [
      '--no-defaults',
      `--datadir=${data}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--skip-name-resolve',
    ],
    { ...ids, cwd: dir, stdio: 'pipe' },
  )
  const address = '127.0.0.1'
  const port = await freePort(address)
  const socket = join(dir, 's')
  const log = join(dir, 'log')
  const child = spawn(
    '/usr/sbin/mariadbd',
    [
      '--no-defaults',
      `--datadir=${data}`,
      `--socket=${socket}`,
      `--bind-address=${address}`,
      `--port=${port}`,
      `--pid-file=${join(dir, 'pid')}`,
      `--log-error=${log}`,
      '--skip-name-resolve',
      '--innodb-flush-log-at-trx-commit=0',
      '--innodb-buffer-pool-size=64M',
      ...(options.settings ?? []),
    ],
    { ...ids, cwd: dir, stdio: 'ignore' },
  )
  const sql = (text: string, database?: string) =>
    execFileSync(
      'mariadb',
      [
        '--no-defaults',
        '-S',
        socket,
        '-u',
        'root',
        '--batch',
        '--raw',
        '--skip-column-names',
        ...(database ? [database] : []),
      ],
      { input: text, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] },
    ).trimEnd()
  const stop = await answering({ name: 'MariaDB', child, dir, log, signal: 'SIGKILL', ask: () => sql('SELECT 1') })
  sql("DELETE FROM mysql.global_priv WHERE user = ''; FLUSH PRIVILEGES")
  return {
    socket,
    address,
    port,
    dir,
    pid: child.pid as number,
    sql,
    stop,
  }
}
