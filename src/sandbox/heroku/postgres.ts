/** A private PostgreSQL cluster in a folder of its own, started when the first database is asked for. */
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chown, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../ports.ts'
import type { PgDatabase } from './state.ts'

const run = promisify(execFile)

export interface PgCluster {
  create(): Promise<PgDatabase>
  drop(database: PgDatabase): Promise<void>
  /** SQL as the database's superuser; resolves with what psql prints, unaligned, tuples only. */
  sql(database: string, sql: string): Promise<string>
  /** Copies a database into a file of pg_dump's custom format. */
  dump(url: string, file: string): Promise<void>
  /** Replaces all that is in the database by the file's content. */
  restore(url: string, file: string): Promise<void>
  close(): Promise<void>
}

export function postgresCluster(under: string): PgCluster {
  let dir = under
  let started: Promise<{ port: number; bin: string; prefix: string[] }> | undefined

  async function start(): Promise<{ port: number; bin: string; prefix: string[] }> {
    const versions = await readdir('/usr/lib/postgresql')
    const bin = `/usr/lib/postgresql/${versions.sort((a, b) => Number(b) - Number(a))[0]}/bin`
    const root = process.getuid?.() === 0
    // PostgreSQL refuses to run as root.
    const prefix = root ? ['runuser', '-u', 'postgres', '--'] : []
    if (root) {
      // Its user may not be able to enter the folders above.
      dir = await mkdtemp(join(tmpdir(), 'slipway-pg-'))
      const { stdout: uid } = await run('id', ['-u', 'postgres'])
      await chown(dir, Number(uid), -1)
    } else {
      await mkdir(dir, { recursive: true })
    }
    const data = join(dir, 'data')
    const command = (...words: string[]): Promise<{ stdout: string }> => {
      const [file, ...args] = [...prefix, ...words]
      return run(file!, args, { cwd: '/' })
    }
    await command(
      `${bin}/initdb`,
      '-D',
      data,
      '-A',
      'trust',
      '-U',
      'postgres',
      '--no-sync',
      '-E',
      'UTF8',
      '--locale=C.UTF-8',
    )
    const port = await freePort()
    await command(
      `${bin}/pg_ctl`,
      '-D',
      data,
      '-w',
      '-l',
      join(dir, 'log'),
      '-o',
      `-p ${port} -k ${dir} -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off -c full_page_writes=off`,
      'start',
    )
    return { port, bin, prefix }
  }
  const cluster = (): Promise<{ port: number; bin: string; prefix: string[] }> => (started ??= start())
  const superuser = async (database: string): Promise<string> =>
    `postgres://postgres@127.0.0.1:${(await cluster()).port}/${database}`

  const api: PgCluster = {
    async create() {
      const { port } = await cluster()
      const name = `d${randomBytes(6).toString('hex')}`
      const user = `u${randomBytes(6).toString('hex')}`
      const password = `p${randomBytes(16).toString('hex')}`
      await api.sql('postgres', `CREATE ROLE ${user} LOGIN PASSWORD '${password}'`)
      await api.sql('postgres', `CREATE DATABASE ${name} OWNER ${user}`)
      return { name, user, password, url: `postgres://${user}:${password}@127.0.0.1:${port}/${name}` }
    },
    async drop(database) {
      await api.sql('postgres', `DROP DATABASE IF EXISTS ${database.name} WITH (FORCE)`)
      await api.sql('postgres', `DROP ROLE IF EXISTS ${database.user}`)
    },
    async sql(database, sql) {
      const { stdout } = await run('psql', [
        '-X',
        '-qAt',
        '-v',
        'ON_ERROR_STOP=1',
        '-d',
        await superuser(database),
        '-c',
        sql,
      ])
      return stdout.trimEnd()
    },
    async dump(url, file) {
      const { bin } = await cluster()
      await run(`${bin}/pg_dump`, ['-Fc', '--no-acl', '--no-owner', '-f', file, url])
    },
    async restore(url, file) {
      const { bin } = await cluster()
      const { pathname, username } = new URL(url)
      // The platform empties the target first: all schemas that are not the system's own.
      const database = pathname.slice(1)
      const schemas = (
        await api.sql(
          database,
          "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
        )
      )
        .split('\n')
        .filter(Boolean)
      await api.sql(
        database,
        [
          ...schemas.map((name) => `DROP SCHEMA "${name}" CASCADE`),
          `CREATE SCHEMA public AUTHORIZATION "${username}"`,
        ].join('; '),
      )
      await run(`${bin}/pg_restore`, ['--no-acl', '--no-owner', '--if-exists', '--clean', '-d', url, file])
    },
    async close() {
      if (!started) return
      const { bin, prefix } = await started
      const [file, ...args] = [...prefix, `${bin}/pg_ctl`, '-D', join(dir, 'data'), '-m', 'immediate', '-w', 'stop']
      await new Promise((resolve) => spawn(file!, args, { cwd: '/', stdio: 'ignore' }).on('close', resolve))
      await rm(dir, { recursive: true, force: true })
    },
  }
  return api
}
