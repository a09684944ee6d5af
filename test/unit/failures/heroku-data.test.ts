/** What can be wrong with a command's end, a backup or a schema on Heroku: by a client, and programs, that play it. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { recordRun } from 'slipway/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SlipwayError } from '../../../src/events/index.ts'
import { type Rendezvous, startRendezvous } from '../../../src/sandbox/heroku/rendezvous.ts'
import { requireOwnDatabases } from '../../../src/targets/heroku/clone.ts'
import type { HerokuContext } from '../../../src/targets/heroku/context.ts'
import { database } from '../../../src/targets/heroku/database.ts'
import { runAttached } from '../../../src/targets/heroku/one-off.ts'
import { reverseMigrations } from '../../../src/targets/heroku/reverse.ts'

let dir: string
let rendezvous: Rendezvous
const path = process.env['PATH']
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-heroku-data-'))
  rendezvous = await startRendezvous(dir, { on: {} } as never)
})
afterEach(() => {
  process.env['PATH'] = path
})
afterAll(async () => {
  await rendezvous.close()
  rmSync(dir, { recursive: true })
})

const app = (client: object, deployment: object = {}): HerokuContext =>
  ({
    app: 'pony',
    path: '/apps/pony',
    env: {},
    config: { dir, file: 'config/deploy.ini' },
    deployment: { name: 'staging', app: {}, ...deployment },
    client,
  }) as never

async function failure(body: () => unknown): Promise<SlipwayError> {
  const { error } = await recordRun(async () => await body())
  if (!(error instanceof SlipwayError)) throw error ?? new Error('it did not fail')
  expect(`${error.message} ${error.state ?? ''} ${error.next ?? ''}`).not.toMatch(/\bundefined\b|\[object|\bNaN\b/)
  return error
}

/** Dynos whose command prints this, and then nothing more. */
const dynosThatSay = (text: string) => ({
  certificate: async () => readFileSync(rendezvous.certificate, 'utf8'),
  write: async () => ({
    name: 'run.7',
    attach_url: rendezvous.offer(async (socket: TLSSocket) => void socket.end(text)),
  }),
})
const status = '\uFFFF heroku-command-exit-status: '

describe('a one-off dyno', () => {
  test('heroku-run-lost: the connection ends before the command does', async () => {
    expect(await failure(() => runAttached(app(dynosThatSay('half of it\n')), './long'))).toMatchObject({
      name: 'OutcomeUnknownError',
      code: 'heroku-run-lost',
      message: 'pony: the connection to run.7 ended before the command told its status',
      host: 'pony',
      detail: 'half of it\n',
      state: 'The command may have run to its end, or not; it was not started again.',
      next: 'See what it printed: `heroku logs --dyno run.7 --app pony`.',
    })
    const { result } = await recordRun(() => runAttached(app(dynosThatSay(`all of it\n${status}3\n`)), './long'))
    expect(result).toEqual({ exitCode: 3, output: 'all of it\n' })
  })

  test('migrations-unrecorded: the app lists its migrations, and its database knows no times of them', async () => {
    const client = {
      ...dynosThatSay(`0001\n0002\n${status}0\n`),
      get: async () => ({}),
      list: async () => [],
    }
    const migrations = { list: './list', reverse: './reverse' }
    const target = { version: 3, created_at: '2026-11-27T10:00:00Z' } as never
    expect(await failure(() => reverseMigrations(app(client, { app: { migrations } }), target))).toMatchObject({
      code: 'migrations-unrecorded',
      message: "pony has no table schema_migrations (name, applied), so it can't be told what came after v3",
      state: 'Nothing was changed.',
      next: 'Reverse by hand: tasks run:release=staging -- ./reverse NAME; then roll back without migrate.',
    })
  })
})

test('same-database: an add-on that both apps have', async () => {
  const end = (name: string, id: string) =>
    [{ ...app({}), app: name }, { addon: { id, name: 'postgresql-curved-1' } }] as never
  expect(await failure(() => requireOwnDatabases(end('pony', '1'), end('pony-staging', '1')))).toMatchObject({
    code: 'same-database',
    message: 'pony and pony-staging share the database postgresql-curved-1',
    host: 'pony-staging',
    state: 'Nothing was changed.',
  })
  expect(() => requireOwnDatabases(end('pony', '1'), end('pony-staging', '2'))).not.toThrow()
})

describe('a backup that is verified', () => {
  const attachment = { name: 'DATABASE', app: { name: 'pony' }, addon: { id: 'd', app: { name: 'pony' } } }
  const backup = { uuid: 'u', num: 1, to_type: 'gof3r', from_type: 'pg_dump', succeeded: true, finished_at: 'now' }
  const client = {
    list: async (of: string) => (of.endsWith('/addon-attachments') ? [attachment] : [backup]),
    get: async (of: string) =>
      of.endsWith('/config-vars') ? { DATABASE_URL: 'postgres://u:p@127.0.0.1/d' } : [backup],
    write: async () => ({ url: 'https://x.example/secret' }),
    open: async () => new Response('dump'),
  }
  const verified = () => database(app(client)).verify()

  /** Programs of this machine that do so, before others in PATH. */
  const programs = (each: Record<string, string>) => {
    const folder = mkdtempSync(join(dir, 'bin-'))
    for (const [name, text] of Object.entries(each)) {
      writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`)
      chmodSync(join(folder, name), 0o755)
    }
    process.env['PATH'] = folder
  }

  test('backup-empty: no table in it, and some in the database', async () => {
    programs({ pg_restore: ':', psql: 'echo 12' })
    expect(await failure(verified)).toMatchObject({
      code: 'backup-empty',
      message: 'b001 holds no table, and the database has 12',
      host: 'pony',
      state: 'The database is as it was; this backup can not bring it back.',
    })
  })

  test('backup-unreadable: pg_restore does not take it, or is not there', async () => {
    programs({ pg_restore: 'echo "pg_restore: error: did not find magic string in file header" >&2; exit 1' })
    const damaged = await failure(verified)
    expect(damaged).toMatchObject({
      code: 'backup-unreadable',
      host: 'pony',
      state: 'The database is as it was.',
      next: 'Make another: `tasks backup_db`.',
    })
    expect(damaged.message).toMatch(/^b001 can't be read: Command failed: pg_restore/)
    programs({})
    expect(await failure(verified)).toMatchObject({
      code: 'backup-unreadable',
      message: "b001 can't be read: spawn pg_restore ENOENT",
      next: 'Install the PostgreSQL client: pg_restore.',
    })
  })
})
