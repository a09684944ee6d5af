import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import type { SlipwayError } from '../../../src/events/index.ts'
import { local } from '../../../src/hosts/index.ts'
import type { DatabaseAddress } from '../../../src/targets/vps/database/engine.ts'
import { handOver, requireShared } from '../../../src/targets/vps/database/engine-handover.ts'
import { passwordFile, postgres } from '../../../src/targets/vps/database/postgres.ts'
import { type Postgres, startPostgres } from '../../servers/postgres.ts'
import { done, failing } from './run.ts'

// Real servers on a machine that may be busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let server: Postgres
let dir: string
let overTcp: DatabaseAddress
let overSocket: DatabaseAddress

beforeAll(async () => {
  server = await startPostgres()
  dir = mkdtempSync('/tmp/slipway-handover-')
  server.sql("CREATE ROLE app LOGIN CREATEDB PASSWORD 'app'")
  server.sql('CREATE DATABASE pony OWNER app')
  server.sql('CREATE DATABASE other OWNER app')
  server.sql('SET ROLE app; CREATE TABLE club (id int); INSERT INTO club VALUES (1)', 'pony')
  const credentials = join(dir, 'pgpass')
  const at = { kind: 'postgres' as const, database: 'pony', port: server.port, user: 'app', credentials }
  await done(() => local().write(credentials, passwordFile(at, 'app'), { mode: 0o600 }))
  overTcp = { ...at, host: server.address }
  overSocket = { ...at, host: server.socket }
})

afterAll(async () => {
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

const session = (loop: string) =>
  spawn('/bin/sh', ['-c', loop], {
    detached: true,
    stdio: 'ignore',
    env: { ...process.env, PGPASSFILE: join(dir, 'pgpass') },
  })
const psql = () => `psql -X -w -q -h ${server.socket} -p ${server.port} -U app -d pony`
const inside = () => Number(server.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'pony'"))

it('knows one database by two ways to it, and two databases on one server', async () => {
  expect((await done(() => requireShared(postgres, local(), overSocket, overTcp))).tables).toBe(1)
  const error = await failing(() => requireShared(postgres, local(), overSocket, { ...overTcp, database: 'other' }))
  expect(error.code).toBe('database-not-shared')
  expect(error.message).toContain('pony and other')
})

it('ends the sessions of the old release, and keeps the database as it was then', async () => {
  const left = session(`(echo 'SELECT 1;'; sleep 600) | ${psql()}`)
  await vi.waitFor(() => expect(inside()).toBe(1), 30_000)
  const dump = await done(() => handOver(postgres, local(), overSocket, overTcp, join(dir, 'before.pgdump')))
  process.kill(-(left.pid as number), 'SIGKILL')
  expect(dump.counts).toEqual({ 'public.club': 1 })
})

it('refuses while something keeps coming back', async () => {
  const again = session(`while :; do (echo 'SELECT pg_sleep(60);') | ${psql()}; done`)
  try {
    await vi.waitFor(() => expect(inside()).toBe(1), 30_000)
    // One that is between two sessions at the moment of the look is not seen: so up to ten looks.
    let refused: SlipwayError | undefined
    for (let look = 0; look < 10 && !refused; look++) {
      refused = await done(() => handOver(postgres, local(), overSocket, overTcp, join(dir, 'never.pgdump'))).then(
        () => undefined,
        (reason) => reason as SlipwayError,
      )
    }
    expect(refused?.code).toBe('database-in-use')
    expect(refused?.message).toContain('app')
  } finally {
    process.kill(-(again.pid as number), 'SIGKILL')
  }
})
