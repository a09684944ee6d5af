/** Checks that seldom are the first to refuse: what each of them says when it is. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { host } from 'slipway'
import { fakeHosts, recordRun } from 'slipway/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SlipwayError } from '../../../src/events/index.ts'
import { nginxProgram } from '../../../src/sandbox/nginx.ts'
import { identify } from '../../../src/sandbox/process.ts'
import { exclusively } from '../../../src/sandbox/sandbox.ts'
import { sshdProgram } from '../../../src/sandbox/sshd.ts'
import { requireOwnDatabases, requireTwoReleases } from '../../../src/targets/vps/database/clone.ts'
import { appLayout, releaseLayout } from '../../../src/targets/vps/layout.ts'
import { portsOf, reversal, siteOf } from '../../../src/targets/vps/promotion/facts.ts'
import { hostStep } from '../../../src/targets/vps/promotion/plan.ts'
import { probe } from '../../../src/targets/vps/promotion/probe.ts'
import { confirm } from '../../../src/targets/vps/promotion/promote.ts'
import { providerOf } from '../../../src/targets/vps/provider.ts'
import { reversalOf } from '../../../src/targets/vps/versions.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-checks-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

type Answers = NonNullable<Parameters<typeof fakeHosts>[0]>['answer']

/** The error of `body`, with hosts that answer so. */
async function failure(body: () => unknown, answer: Answers = () => '', prompter = {}): Promise<SlipwayError> {
  const { error } = await recordRun(async () => await body(), { hosts: fakeHosts({ answer }), prompter })
  if (!(error instanceof SlipwayError)) throw error ?? new Error('it did not fail')
  expect(`${error.message} ${error.state ?? ''} ${error.next ?? ''}`).not.toMatch(/\bundefined\b|\[object|\bNaN\b/)
  return error
}
/** What is not refused comes to this. */
const result = async (body: () => unknown, answer: Answers = () => '') => {
  const recorded = await recordRun(async () => await body(), { hosts: fakeHosts({ answer }) })
  if (recorded.error) throw recorded.error
  return recorded.result
}

const release = releaseLayout('~/webapps', '/home/deploy', 'ponyr2')
const old = releaseLayout('~/webapps', '/home/deploy', 'ponyr1')
const nothing = 'Nothing was changed.'

/** Production of an app, as far as the checks look at it. */
const context = (app: object = {}, domains: object = { provider: 'nginx', options: {} }) =>
  ({
    config: { file: 'config/deploy.ini', domains },
    deployment: { name: 'production', app: { name: 'pony', root: '~/webapps', ...app } },
  }) as never

describe('before a promotion', () => {
  const facts = { app: appLayout('/home/deploy', 'pony') } as never
  const looking = () => probe(host('h'), context(), facts, { next: release, items: [] })

  test('no-python: the window’s programs need it', async () => {
    expect(await failure(looking)).toMatchObject({
      code: 'no-python',
      message: 'there is no python3 on h',
      host: 'h',
      state: nothing,
      next: 'Install python3.',
    })
    const found = (command: string) => (command.includes('python3') ? '/usr/bin/python3' : '')
    expect(await result(looking, found)).toMatchObject({ python: '/usr/bin/python3' })
  })

  test('no-own-port: both would listen on one', async () => {
    const ports = (nextPort?: number) => () =>
      portsOf({ ...(nextPort ? { nextPort } : {}) }, { kind: 'port', port: 8001 }, release, old, host('h'))
    expect(await failure(ports(8001))).toMatchObject({
      code: 'no-own-port',
      message: 'ponyr2 has no port of its own beside ponyr1',
      host: 'h',
      state: nothing,
      next: 'Give it one, and start it there: `tasks init_staging_app restart_app:release=staging`.',
    })
    expect(await failure(ports())).toMatchObject({ code: 'no-own-port' })
    expect(await result(ports(8002))).toEqual({ nextPort: 8002, oldPort: 8001 })
  })

  test('no-site: it is not there, and what it is to listen on has no port', async () => {
    const site = (listen?: string) => () =>
      siteOf(
        context({}, { provider: 'nginx', options: listen ? { listen } : {} }),
        { site: '', listen: '' },
        'x',
        host('h'),
      )
    expect(await failure(site('unix:/run/x.sock'))).toMatchObject({
      code: 'no-site',
      message: 'there is no site for production on h, and none can be made that listens on unix:/run/x.sock',
      host: 'h',
      state: nothing,
      next: 'Name a port in [domains] listen, for example: listen = 80, [::]:80',
    })
    expect(await result(site())).toMatchObject({ port: 80, toMake: ['80', '[::]:80'] })
  })

  test('declined: what has to be typed was not', async () => {
    const asking = () => confirm({ app: 'pony', production: 'production' })
    expect(await failure(asking, undefined, { confirmTyped: async () => false })).toMatchObject({
      code: 'declined',
      message: 'the promotion was declined',
      state: nothing,
    })
  })

  test('schema-unknown: going back, nobody wrote down what was applied', async () => {
    const custom = { list: './list', reverse: './reverse' }
    const back = (migrations: unknown, migrationsThen?: string[]) => () =>
      reversal(host('h'), context({ migrations, migrate: './migrate' }), old, {
        demoteTo: 'ponyr1',
        ...(migrationsThen ? { migrationsThen } : {}),
      })
    const unknown = {
      code: 'schema-unknown',
      message: "it can't be told whether the schema has changed since ponyr1 was production",
      host: 'h',
      state: nothing,
      next: 'Set [app] migrations, with commands that list and reverse them; or restore a backup by hand.',
    }
    expect(await failure(back('none', ['0001']))).toMatchObject(unknown)
    expect(await failure(back(custom))).toMatchObject(unknown)
    expect(await result(back(custom, ['0001']), () => '0001\n0002')).toEqual({ reverse: './reverse 0001' })
  })
})

test('step-unproved: a step of a promotion that the host did, and does not find done', async () => {
  const step = (state: string) =>
    hostStep(
      { id: 'stop', kind: 'stop', title: 'stop the workers' },
      { act: async () => ({ state, data: {} }) } as never,
      host('h'),
    )
  expect(await failure(() => step('todo').do({}))).toMatchObject({
    code: 'step-unproved',
    message: 'afterwards it was not done: stop the workers',
    host: 'h',
    state: 'The host did it without a failure, and does not find what it was to bring about.',
  })
  expect(await result(() => step('done').do({}))).toEqual({})
})

test('no-site: a site that leads to no port can’t be led to another one', async () => {
  const leading = async () => {
    const provider = await providerOf(context(), host('h'))
    return provider.restore({ domain: 'x', app: '8001', path: '/', raw: { port: '8001' } })
  }
  const text = (site: string) => (command: string) => (command.includes('nginx.conf 2>') ? site : '')
  expect(await failure(leading, text('listen 80;'))).toMatchObject({
    code: 'no-site',
    message: 'there is no site for production on h that leads to a port',
    host: 'h',
    state: nothing,
    next: 'Make it: `tasks init_staging_app` or `tasks init_production_app`.',
  })
  await result(leading, text('upstream production_current { server 127.0.0.1:8002; }'))
})

test('migrations-unknown: gone back to a version of which no list was kept', async () => {
  const target = { id: '20261127-101500-ab12cd' } as never
  const on = { release, facts: { records: [] } } as never
  const back = () =>
    reversalOf(context({ migrations: { list: './list', reverse: './reverse' } }), host('h'), on, 'v2', target)
  const answers =
    (before: number, now: number): Answers =>
    (command) =>
      command.startsWith('cat ')
        ? { exitCode: before, stdout: '0001\n' }
        : { exitCode: now, stdout: '0001\n0002\n', stderr: 'no such table' }
  for (const [before, now] of [
    [1, 0],
    [0, 1],
  ] as const) {
    expect(await failure(back, answers(before, now))).toMatchObject({
      code: 'migrations-unknown',
      message: 'it is not known which migrations were applied with 20261127-101500-ab12cd',
      host: 'h',
      state: nothing,
      next: 'Take the schema back by hand with `tasks run:release=production -- …`, then roll back without migrate.',
    })
  }
  expect(await result(back, answers(0, 0))).toEqual(['./reverse 0001'])
})

describe('a copy from one deployment to another', () => {
  const end = (name: string, folder: string) => ({
    context: { deployment: { name } } as never,
    host: host('h'),
    change: { release: { dir: folder } },
  })

  test('same-release: both are one folder', async () => {
    const copy = (folder: string) => () => requireTwoReleases(end('production', '/r1'), end('staging', folder))
    expect(await failure(copy('/r1'))).toMatchObject({
      name: 'UsageError',
      code: 'same-release',
      message: 'production and staging are the same release',
      state: nothing,
    })
    expect(await result(copy('/r2'))).toBeUndefined()
  })

  test('same-database: both use one, whatever they call it', async () => {
    const server = (database: string, identity: string) =>
      ({ at: { database }, engine: { inspect: async () => ({ exists: true, identity }) } }) as never
    const copy = (identity: string) => () =>
      requireOwnDatabases(end('production', '/r1'), end('staging', '/r2'), {
        name: 'main',
        source: server('pony', 'a'),
        target: server('pony.', identity),
      })
    expect(await failure(copy('a'))).toMatchObject({
      code: 'same-database',
      message: 'both deployments use one database as main: pony',
      host: 'h',
      state: nothing,
      next: 'Give staging one of its own: [staging.databases] main = …',
    })
    expect(await result(copy('b'))).toBeUndefined()
  })
})

describe('the sandbox', () => {
  test('nginx-missing, sshd-missing: programs of this machine', async () => {
    expect(await failure(() => nginxProgram([dir]))).toMatchObject({
      code: 'nginx-missing',
      message: 'there is no nginx on this machine',
      next: 'Install it: sudo apt-get install nginx-light',
    })
    expect(await failure(() => sshdProgram([dir]))).toMatchObject({
      code: 'sshd-missing',
      message: 'there is no OpenSSH server on this machine',
      next: 'Install it: sudo apt-get install openssh-server',
    })
    for (const program of ['nginx', 'sshd']) writeFileSync(join(dir, program), '')
    expect([await nginxProgram(['/nowhere', dir]), await sshdProgram(['/nowhere', dir])]).toEqual([
      join(dir, 'nginx'),
      join(dir, 'sshd'),
    ])
  })

  test('sandbox-busy: another command is at it, and still runs', async () => {
    const lock = join(dir, 'lock')
    const own = await identify(process.pid)
    writeFileSync(lock, `${process.pid} ${own?.startTime ?? ''}`)
    let ran = false
    const starting = () => exclusively({ dir }, async () => (ran = true), 100)
    expect(await failure(starting)).toMatchObject({
      code: 'sandbox-busy',
      message: 'another command is starting this sandbox',
      state: 'This one did nothing.',
      next: `Wait for it, or remove ${lock} if there is none.`,
    })
    expect(ran).toBe(false)
    // One that has ended does not hold it.
    writeFileSync(lock, `${process.pid} 1`)
    expect(await result(starting)).toBe(true)
  })
})
