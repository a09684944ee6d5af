/** What a host or Heroku answers that can't be gone on with, each with its own code: by connections that answer as told. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { host } from 'slipway'
import { recordRun } from 'slipway/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Run, SlipwayError } from '../../../src/events/index.ts'
import { status } from '../../../src/hosts/file-commands.ts'
import { type Pool, poolKey } from '../../../src/hosts/pool.ts'
import { reach } from '../../../src/hosts/reach.ts'
import { sh } from '../../../src/shell/index.ts'
import { attachDomain } from '../../../src/targets/heroku/domains.ts'
import { dynosGone, dynosUp } from '../../../src/targets/heroku/dynos.ts'
import { waitForDatabase } from '../../../src/targets/heroku/postgres.ts'
import { psqlShell, sql } from '../../../src/targets/heroku/psql.ts'
import { outputStream } from '../../../src/targets/heroku/stream.ts'
import { restartOnHost } from '../../../src/targets/vps/restart-on-host.ts'
import { vpsStore } from '../../../src/targets/vps/store/index.ts'
import { requireSystemd } from '../../../src/targets/vps/systemd.ts'
import { type Answer, fakeTransport } from '../../../src/testing/fake-transport.ts'

/** The failure of `body` where every command on every host ends so. */
async function failure(body: () => unknown, answer: Answer = {}) {
  const transport = fakeTransport(() => answer)
  const pool = {
    config: async (destination: string) => ({ destination, hostName: destination, user: 'u', port: 22 }),
    transport: async () => transport,
    local: async () => transport,
  } as unknown as Pool
  const install = (run: Run) => void run.memo(poolKey, () => pool)
  const { error } = await recordRun(async () => await body(), { hosts: { install } as never })
  if (!(error instanceof SlipwayError)) throw error ?? new Error('it did not fail')
  return error
}

const owner = { run: 'r', user: 'ann', machine: 'laptop', command: 'tasks test', pid: 1 }
const change = { release: { dir: '/r', supervisorSocket: '/r/s.sock' } } as never
const restart = () => restartOnHost({ deployment: {} } as never, host('h'), change, 'server', {} as never)
const told = (done: object) => ({ stdout: `${JSON.stringify({ done })}\n` })
const all = async (lines: AsyncIterable<unknown>) => {
  for await (const _ of lines);
}

describe('said by a host', () => {
  test.each<[string, string, Answer, () => unknown]>([
    ['file-missing', 'x on h does not exist', { exitCode: status.missing }, () => host('h').read('x')],
    ['directory-missing', 'the directory of x on h', { exitCode: status.missing }, () => host('h').write('x', '')],
    ['file-denied', 'x on h may not be read', { exitCode: status.denied }, () => host('h').read('x')],
    ['file-is-directory', 'x on h is a directory', { exitCode: status.isDirectory }, () => host('h').read('x')],
    ['file-incomplete', 'not all of x on h arrived', { exitCode: status.short }, () => host('h').write('x', 'abc')],
    ['disk-full', 'the disk is full', said('No space left on device'), () => host('h').write('x', 'abc')],
    ['disk-quota', 'the disk quota is used up', said('Disk quota exceeded'), () => host('h').write('x', 'abc')],
    ['disk-read-only', 'is read-only', said('Read-only file system'), () => host('h').write('x', 'abc')],
    ['sudo-missing', 'there is no sudo on h', { exitCode: 127 }, () => host('h').as('root').$`id`],
    [
      'sudo-refused',
      'does not let this user become root',
      said('not in the sudoers file'),
      () => host('h').as('root').$`id`,
    ],
    ['sudo-password', 'wants a password', said('sudo: a password is required'), () => host('h').as('root').$`id`],
    [
      'store-failed',
      'could not be read or written: broken',
      said('broken'),
      () => vpsStore(host('h'), 'pony').lock(['a'], owner),
    ],
    [
      'lock-unreadable',
      'the answer of h about its locks',
      { stdout: 'hm\n' },
      () => vpsStore(host('h'), 'pony').lock(['a'], owner),
    ],
    ['no-systemd', 'there is no systemd on h', {}, () => requireSystemd(host('h'))],
    ['no-systemd', 'systemd 232 is too old on h', { stdout: 'version 232\n' }, () => requireSystemd(host('h'))],
    ['restart-unfinished', 'ended without a word', {}, restart],
    [
      'not-stopped',
      'app-a did not stop within 30 s',
      told({ outcome: 'not-stopped', programs: ['app-a'], seconds: 30 }),
      restart,
    ],
    ['not-ended', 'processes of app-a are left', told({ outcome: 'not-ended', programs: ['app-a'] }), restart],
    ['guard-refused', 'the check before the changes failed on h', told({ outcome: 'guard', detail: 'no' }), restart],
    [
      'output-truncated',
      'longer than what is kept',
      { stdout: 'x'.repeat(5000) },
      () => host('h').run(sh`x`, { captureBytes: 1000 }).text(),
    ],
    ['no-connection', 'h has no connection of its own', {}, () => reach({ name: 'h' } as never)],
  ])('%s: %s', async (code, message, answer, body) => {
    const error = await failure(body, answer)
    expect(error).toMatchObject({ code })
    expect(error.message).toContain(message)
    expect(`${error.message} ${error.state ?? ''} ${error.next ?? ''}`).not.toMatch(/\bundefined\b|\[object/)
  })
})

function said(stderr: string): Answer {
  return { exitCode: 1, stderr: `${stderr}\n` }
}

describe('answered by Heroku', () => {
  const context = (get: unknown, list: unknown = []) =>
    ({
      app: 'pony',
      path: '/apps/pony',
      client: { get: async () => get, list: async () => list, write: async () => get },
    }) as never
  const attachment = { addon: { id: '1', name: 'postgresql-curved-1' } } as never
  const stream = (open: () => unknown) => all(outputStream({ open: async () => open() } as never, 'http://h/'))
  const dyno = { type: 'web', name: 'web.1', state: 'starting', release: { version: 1 } }

  test.each<[string, string, () => unknown]>([
    [
      'heroku-database-failed',
      'postgresql-curved-1: broken',
      () => waitForDatabase(context({ 'error?': true, message: 'broken' }), attachment),
    ],
    [
      'heroku-database-late',
      'is not available after 0 s',
      () => waitForDatabase(context({ 'waiting?': true }), attachment, 0),
    ],
    [
      'heroku-domain-failed',
      'Heroku could not add www.example.org',
      () => attachDomain(context({ status: 'failed' }), 'www.example.org'),
    ],
    ['heroku-dynos-stay', 'dynos of web are still there', () => dynosGone(context({}, [dyno]), ['web'], 0)],
    [
      'heroku-no-stream',
      'the output could not be read: HTTP 500',
      () => stream(() => new Response('', { status: 500 })),
    ],
  ])('%s: %s', async (code, message, body) => {
    const error = await failure(body)
    expect(error).toMatchObject({ code })
    expect(error.message).toContain(message)
  })

  test('dynos that don’t come up in time', async () => {
    const asked = { app: 'pony', path: '/apps/pony', deployment: { name: 'staging' } }
    const client = {
      list: async (path: string) => (path.endsWith('/formation') ? [{ type: 'web', quantity: 1 }] : [dyno]),
      get: async () => ({}),
    }
    expect(await failure(() => dynosUp({ ...asked, client } as never, { deadlineMs: 0 }))).toMatchObject({
      code: 'heroku-dynos-late',
      message: 'pony: the dynos did not come up within 0 s (0 of 1 up)',
    })
  })

  test('an output that is cut again and again', async () => {
    vi.useFakeTimers()
    const failing = failure(() =>
      stream(() => {
        throw new Error('cut')
      }),
    )
    await vi.advanceTimersByTimeAsync(60_000)
    expect(await failing).toMatchObject({ code: 'heroku-stream-lost' })
  })
  afterEach(() => void vi.useRealTimers())
})

describe('psql on this machine', () => {
  const path = process.env['PATH']
  let dir: string
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'slipway-psql-'))
  })
  afterEach(() => {
    process.env['PATH'] = path
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  /** A psql that ends so, alone in PATH. */
  const psql = (text?: string) => {
    process.env['PATH'] = dir
    rmSync(join(dir, 'psql'), { force: true })
    if (text === undefined) return
    writeFileSync(join(dir, 'psql'), `#!/bin/sh\n${text}\n`)
    chmodSync(join(dir, 'psql'), 0o755)
  }

  test.each<[string, string, string | undefined]>([
    ['no-psql', 'psql is not installed on this machine', undefined],
    [
      'database-lost',
      'the connection to the database was lost',
      'echo "server closed the connection unexpectedly" >&2; exit 2',
    ],
    ['database-unreachable', 'psql: could not connect', 'echo "could not connect" >&2; exit 2'],
    ['sql-failed', 'psql: ERROR:  syntax error', 'echo "ERROR:  syntax error" >&2; exit 3'],
  ])('%s', async (code, message, text) => {
    psql(text)
    expect(await failure(() => sql('postgres://u:p@h/d', 'SELECT 1'))).toMatchObject({ code, message })
  })

  test('its shell, where there is none', async () => {
    psql()
    expect(await failure(() => psqlShell('postgres://u:p@h/d'))).toMatchObject({ code: 'no-psql' })
  })
})
