import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Config } from '../../../src/config/types.ts'
import { local } from '../../../src/hosts/index.ts'
import type { Command } from '../../../src/shell/index.ts'
import { explained } from '../../../src/targets/vps/database/engines.ts'
import { backupCommands, type ServerDatabase, serverDatabase } from '../../../src/targets/vps/database/servers.ts'
import { startMariadb } from '../../servers/mariadb.ts'
import { startPostgres } from '../../servers/postgres.ts'
import { done, inRun } from './run.ts'

// Real servers on a machine that may be busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let dir: string
const password = 'p@ss/wörd "\'\\#'

beforeAll(() => {
  dir = mkdtempSync('/tmp/slipway-servers-')
  writeFileSync(join(dir, '.env'), '')
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function json<T>(command: Command): Promise<T> {
  const { value, events } = await inRun(() => local().script([{ name: 'it', command }]))
  expect(JSON.stringify(events)).not.toContain(password)
  return JSON.parse((value[0]?.stdout ?? '').trim().split('\n').pop() ?? '') as T
}

/** Backup, change, test restore, restore: what an operator does, on whichever server. */
async function cycle(database: ServerDatabase, sql: (text: string, name: string) => string, names: () => string[]) {
  const file = join(dir, `backup-${database.engine.kind}`)
  const at = backupCommands('main', database, 'one', new Date('2026-11-27T10:15:00Z'))
  const dumped = await json<{ bytes: number; sha256: string; counts: Record<string, number> }>(at.dump(file))
  expect(dumped.bytes).toBe(statSync(file).size)
  expect(Object.values(dumped.counts)).toEqual([3])
  expect(statSync(database.at.credentials as string).mode & 0o777).toBe(0o600)
  expect(at.dump(file).toString()).not.toContain(password)
  expect(await json(at.verify(file))).toEqual(dumped)
  expect(names()).toEqual(['pony'])
  sql('DELETE FROM club', 'pony')
  expect(await json(at.put(file))).toMatchObject({ counts: dumped.counts })
  expect(sql('SELECT COUNT(*) FROM club', 'pony')).toBe('3')
  expect(sql('SELECT COUNT(*) FROM club', 'pony_before_20261127101500')).toBe('0')
  expect(Object.keys(await json<Record<string, number>>(at.size()))).toEqual(['pony'])
  // Over a database that is not there any more.
  sql(
    database.engine.kind === 'postgres' ? 'ALTER DATABASE pony RENAME TO gone' : 'DROP DATABASE pony',
    database.engine.kind === 'postgres' ? 'postgres' : 'mysql',
  )
  await json(backupCommands('main', database, 'two').put(file))
  expect(sql('SELECT COUNT(*) FROM club', 'pony')).toBe('3')
}

const config = (url: string) => {
  process.env['TEST_DATABASE_URL'] = url
  return { dir, file: 'config/deploy.ini', places: {} } as unknown as Config
}

describe('a configured database', () => {
  it('is backed up, verified and restored on PostgreSQL', async () => {
    const server = await startPostgres()
    try {
      server.sql(`CREATE ROLE app LOGIN CREATEDB PASSWORD '${password.replaceAll("'", "''")}'`)
      server.sql('CREATE DATABASE pony OWNER app')
      server.sql('SET ROLE app; CREATE TABLE club (id int); INSERT INTO club VALUES (1), (2), (3)', 'pony')
      const url = `postgres://app:${encodeURIComponent(password)}@${server.address}:${server.port}/pony`
      const database = await done(() =>
        serverDatabase(
          config(url),
          'main',
          { kind: 'postgres', database: 'secret:TEST_DATABASE_URL', role: 'data' },
          join(dir, 'credentials'),
        ),
      )
      await cycle(database, server.sql, () =>
        server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'pony%'").split('\n'),
      )
    } finally {
      await server.stop()
    }
  })

  it('says what its server said, where a step of a backup fails', async () => {
    const database = await done(() =>
      serverDatabase(
        config('postgres://app:hidden@127.0.0.1:1/pony'),
        'main',
        { kind: 'postgres', database: 'secret:TEST_DATABASE_URL', role: 'data' },
        join(dir, 'credentials'),
      ),
    )
    const command = backupCommands('main', database, 'three').dump(join(dir, 'never'))
    const error = await done(() => local().script([{ name: 'copy main', command }])).catch((reason) => reason)
    expect(await explained(error, local(), new Map([['copy main', database.at]]))).toMatchObject({
      code: 'database-unreachable',
      message: 'copy main: the server does not answer: pony on 127.0.0.1:1 as app',
    })
  })

  it('is backed up, verified and restored on MariaDB', async () => {
    const server = await startMariadb()
    try {
      const literal = password.replaceAll('\\', '\\\\').replaceAll("'", "''")
      server.sql(`CREATE USER app@'%' IDENTIFIED BY '${literal}'; GRANT ALL ON \`pony%\`.* TO app@'%'`)
      server.sql('CREATE DATABASE pony')
      server.sql('CREATE TABLE club (id int); INSERT INTO club VALUES (1), (2), (3)', 'pony')
      const url = `mysql://app:${encodeURIComponent(password)}@${server.address}:${server.port}/pony`
      const database = await done(() =>
        serverDatabase(
          config(url),
          'main',
          { kind: 'mysql', database: 'secret:TEST_DATABASE_URL', role: 'data' },
          join(dir, 'credentials'),
        ),
      )
      await cycle(database, server.sql, () => server.sql("SHOW DATABASES LIKE 'pony%'").split('\n'))
    } finally {
      await server.stop()
    }
  })

  it('whose URL is of another kind, or cannot be read, is refused without showing it', async () => {
    const read = (url: string) =>
      done(() =>
        serverDatabase(config(url), 'main', { kind: 'mysql', database: 'secret:TEST_DATABASE_URL', role: 'data' }, dir),
      )
    await expect(read('postgres://app:hidden@db/pony')).rejects.toMatchObject({ code: 'database-url' })
    const error: Error = await read('://hidden').then(
      () => new Error('it was read'),
      (reason) => reason,
    )
    expect(error.message).toContain('cannot be read')
    expect(error.message).not.toContain('hidden')
  })
})
