/** What the platform can do that is no refusal: be silent, be late, or answer something else. By a client that plays it. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { recordRun } from 'slipway/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { SlipwayError } from '../../../src/events/index.ts'
import { setFaults } from '../../../src/sandbox/heroku.ts'
import { released } from '../../../src/targets/heroku/build.ts'
import { followed } from '../../../src/targets/heroku/builds.ts'
import { type HerokuClient, herokuClient } from '../../../src/targets/heroku/client.ts'
import { type HerokuContext, herokuContext } from '../../../src/targets/heroku/context.ts'
import { download } from '../../../src/targets/heroku/database.ts'
import { attachDomain, automaticCertificates } from '../../../src/targets/heroku/domains.ts'
import { appLog } from '../../../src/targets/heroku/logs.ts'
import { maintenance } from '../../../src/targets/heroku/maintenance.ts'
import { gitRemote, runLocally } from '../../../src/targets/heroku/operator.ts'
import { capture } from '../../../src/targets/heroku/postgres.ts'
import { targetRelease } from '../../../src/targets/heroku/promotion.ts'
import { pushCommit } from '../../../src/targets/heroku/push.ts'
import * as resource from '../../../src/targets/heroku/resources.ts'
import { reverseMigrations } from '../../../src/targets/heroku/reverse.ts'
import { rollbackTarget } from '../../../src/targets/heroku/versions.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-platform-'))
})
afterAll(() => rmSync(dir, { recursive: true }))
afterEach(() => vi.useRealTimers())

/** An app of which the platform says what `client` says. */
const app = (client: Record<string, unknown>, deployment: Record<string, unknown> = {}): HerokuContext => ({
  app: 'pony-staging',
  path: '/apps/pony-staging',
  env: {},
  config: { dir, file: 'config/deploy.ini' } as never,
  deployment: { name: 'staging', app: { source: '.', migrations: 'none' }, ...deployment } as never,
  client: client as unknown as HerokuClient,
})

async function failure(body: () => unknown): Promise<SlipwayError> {
  const { error } = await recordRun(async () => await body())
  if (!(error instanceof SlipwayError)) throw new Error(`no SlipwayError: ${String(error)}`)
  expect(`${error.message} ${error.state ?? ''} ${error.next ?? ''}`).not.toMatch(/\bundefined\b|\[object|\bNaN\b/)
  return error
}

/** The error of what waits for something that never comes, after so long. */
async function late(body: () => unknown, hours: number): Promise<SlipwayError> {
  vi.useFakeTimers()
  const failing = failure(body)
  await vi.advanceTimersByTimeAsync(hours * 3600_000)
  return failing
}

const domain = { hostname: 'pony.example.org', kind: 'custom', status: 'pending', cname: 'x.herokudns.com' }
const attachment = {
  name: 'DATABASE',
  app: { name: 'pony-staging' },
  addon: { id: 'd', app: { name: 'pony-staging' } },
}
const transfer = { uuid: 'u', num: 1, to_type: 'gof3r', from_type: 'pg_dump', processed_bytes: 5, logs: [] }

describe('what never comes is told', () => {
  test.each<[string, string, number, () => unknown]>([
    [
      'heroku-domain-late',
      'pony.example.org is still pending on pony-staging',
      0.1,
      () => attachDomain(app({ list: async () => [domain], get: async () => domain }), domain.hostname),
    ],
    [
      'heroku-no-certificate',
      'pony-staging: no certificate yet for pony.example.org (waiting)',
      0.5,
      () => automaticCertificates(app({ list: async () => [domain], get: async () => ({ acm: true }) })),
    ],
    [
      'heroku-release-late',
      'pony-staging: v7 is still pending after 30 minutes',
      1,
      () => released(app({ get: async () => ({ version: 7, status: 'pending' }) }), 'r', undefined),
    ],
    [
      'heroku-build-late',
      'pony-staging: the build goes on after an hour',
      2,
      () => followed(app({ get: async () => ({ status: 'pending' }) }), { id: 'b' } as never),
    ],
    [
      'heroku-no-release',
      'pony-staging: the build made no release',
      0.1,
      () => followed(app({ get: async () => ({ status: 'succeeded', release: null }) }), { id: 'b' } as never),
    ],
    [
      'heroku-transfer-late',
      'backup of pony-staging::DATABASE: still going on after six hours',
      7,
      () =>
        capture(
          app({ list: async () => [], write: async () => transfer, get: async () => transfer }),
          attachment as never,
        ),
    ],
    [
      'heroku-promotion-late',
      'the promotion to pony-staging did not begin within 5 minutes',
      0.2,
      () => targetRelease(app({ list: async () => [{ status: 'pending', release: null }] }), 'p'),
    ],
  ])('%s: %s', async (code, message, hours, body) => {
    const error = await late(body, hours)
    expect(error).toMatchObject({ code })
    expect(error.message).toContain(message)
  })
})

describe('what is not as it should be is told', () => {
  const ended = { ...transfer, finished_at: 'now', succeeded: false, logs: [{ message: 'pg_dump: error: it broke' }] }
  test.each<[string, string, () => unknown]>([
    [
      'heroku-transfer-failed',
      'failed',
      () =>
        capture(
          app({ list: async () => [], write: async () => transfer, get: async () => ended }),
          attachment as never,
        ),
    ],
    [
      'heroku-promotion-failed',
      'Heroku refused the promotion to pony-staging: the slug is gone',
      () =>
        targetRelease(
          app({ list: async () => [{ status: 'failed', release: null, error_message: 'the slug is gone' }] }),
          'p',
        ),
    ],
    [
      'heroku-nothing-live',
      'pony-staging has no release yet',
      () => rollbackTarget(app({ list: async () => [], get: async () => [] })),
    ],
    [
      'heroku-log-lost',
      "the log of pony-staging can't be read: socket hang up",
      async () => {
        const client = { write: () => Promise.reject(new Error('socket hang up')) }
        for await (const _ of appLog(app(client), {} as never, {})) return
      },
    ],
    [
      'heroku-download',
      "the backup b001 can't be downloaded: HTTP 403",
      () => download(backups(new Response('no', { status: 403 })), transfer as never, dir),
    ],
    [
      'heroku-download',
      'only 4 of 9 bytes of the backup came',
      () => download(backups(new Response('dump', { headers: { 'Content-Length': '9' } })), transfer as never, dir),
    ],
    [
      'maintenance-stays',
      'pony-staging is still in maintenance',
      () => {
        const client = {
          get: async () => ({ maintenance: false }),
          write: async (_: string, __: string, ___: unknown, { body }: { body: { maintenance: boolean } }) => {
            if (!body.maintenance) throw new Error('503')
          },
        }
        return maintenance(app(client)).during(async () => {})
      },
    ],
    ['no-migrations', 'there is no `migrations =` in config/deploy.ini', () => reverseMigrations(app({}), {} as never)],
    ['no-procfile', 'there is no Procfile in', () => runLocally(app({}))],
    ['sandbox-heroku-down', "the sandbox's Heroku emulator is not up", () => setFaults(dir, ['slow'])],
  ])('%s: %s', async (code, message, body) => {
    const error = await failure(body)
    expect(error).toMatchObject({ code })
    expect(error.message).toContain(message)
  })

  const backups = (response: Response) =>
    app({
      list: async () => [attachment],
      write: async () => ({ url: 'https://x/secret' }),
      open: async () => response,
    })

  test('in a sandbox without its emulator nothing reaches for the platform', async () => {
    const { error } = await recordRun(() => herokuContext({ herokuApp: 'x' } as never, { config: {} as never }), {
      sandbox: true,
    } as never)
    expect(error).toMatchObject({ code: 'sandbox-heroku-down', state: 'Nothing was connected to.' })
  })

  test('a reply that is not what the schema says', async () => {
    const server = createServer((_, reply) => reply.end('{"name":7}')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      const HEROKU_API_URL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const client = herokuClient({ HEROKU_API_URL, HEROKU_API_KEY: 'key-of-a-test' })
      const error = await failure(() => client.get('/apps/pony', resource.app))
      expect(error).toMatchObject({ code: 'heroku-odd-reply' })
      expect(error.message).toBe("Heroku's reply to /apps/pony is not what its schema says")
    } finally {
      server.close()
    }
  })

  test('a git remote that git does not take, because another git is at work', async () => {
    execFileSync('git', ['init', '-q', dir])
    writeFileSync(join(dir, '.git/config.lock'), '')
    const error = await failure(() =>
      gitRemote(app({ get: async () => ({ git_url: 'https://git.heroku.com/x.git' }) })),
    )
    expect(error).toMatchObject({
      code: 'git-failed',
      message: 'git could not set the remote staging',
      next: 'git remote add staging https://git.heroku.com/x.git',
    })
  })
})

describe('a push with git', () => {
  const git = (folder: string, ...args: string[]) =>
    execFileSync('git', ['-C', folder, '-c', 'user.name=a', '-c', 'user.email=a@example.org', ...args], {
      encoding: 'utf8',
    }).trim()
  let folder: string
  let commit: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'slipway-push-'))
    execFileSync('git', ['init', '-q', '--bare', join(folder, 'pony-staging.git')])
    execFileSync('git', ['init', '-q', join(folder, 'work')])
    git(join(folder, 'work'), 'commit', '-q', '--allow-empty', '-m', 'one')
    commit = git(join(folder, 'work'), 'rev-parse', 'HEAD')
  })
  afterAll(() => rmSync(folder, { recursive: true }))
  const push = () =>
    pushCommit(
      {
        ...app({ list: async () => [] }),
        env: { HEROKU_GIT_URL: `file://${folder}`, HEROKU_API_KEY: 'key-of-a-test' },
      },
      { dir: join(folder, 'work'), commit, what: 'one' },
    )

  test('that the other side refuses is told with its reason', async () => {
    const hook = join(folder, 'pony-staging.git/hooks/pre-receive')
    writeFileSync(hook, '#!/bin/sh\necho "the stack is gone" >&2; exit 1\n', { mode: 0o755 })
    const error = await failure(push)
    expect(error).toMatchObject({
      code: 'heroku-push-refused',
      state: 'Nothing was pushed; the app runs on as it was.',
    })
    expect(error.message).toMatch(/^Heroku's git refused the push to pony-staging: .*pre-receive hook declined/)
    expect(error.detail).toContain('the stack is gone')
    rmSync(hook)
  })

  test('of which the platform shows no build is not known to have come to anything', async () => {
    expect(await failure(push)).toMatchObject({ code: 'heroku-no-build', name: 'OutcomeUnknownError' })
  })
})
