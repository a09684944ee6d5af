import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { LogLine } from '../../../src/targets/deployment.ts'
import { api, makeApps, type Stage, setStage } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await setStage()
  await makeApps(stage.heroku, ['pony-staging'])
  await stage.run(() => stage.staging.deploy())
}, 60_000)
afterAll(() => stage.close())
beforeEach(() => {
  stage.heroku.faults.rules.length = 0
})

const app = () => stage.heroku.state.apps.get('pony-staging')!
const running = (type: string): string[] =>
  app()
    .dynos.filter((dyno) => dyno.type === type && dyno.state === 'up' && !dyno.stopping)
    .map((dyno) => dyno.name)
    .sort()

describe('server and workers', () => {
  test('stopping remembers how many there were, and starting brings them back', async () => {
    await stage.run(() => stage.staging.workers.scale({ worker: 3 }))
    expect(running('worker')).toEqual(['worker.1', 'worker.2', 'worker.3'])
    await stage.run(() => stage.staging.workers.stop())
    expect(running('worker')).toEqual([])
    expect((await stage.run(() => stage.staging.workers.status())).value).toEqual([
      { name: 'worker', state: 'stopped', detail: 'scaled to 0' },
    ])
    await stage.run(() => stage.staging.workers.start())
    expect(running('worker')).toEqual(['worker.1', 'worker.2', 'worker.3'])
    await stage.run(() => stage.staging.workers.scale({ worker: 1 }))
  }, 60_000)

  test('restarting the server leaves the workers alone', async () => {
    const before = app().dynos.map((dyno) => dyno.id)
    await stage.run(() => stage.staging.server.restart())
    const after = app().dynos.filter((dyno) => !dyno.stopping)
    expect(after.filter((dyno) => dyno.type === 'worker').every((dyno) => before.includes(dyno.id))).toBe(true)
    expect(after.filter((dyno) => dyno.type === 'web').some((dyno) => before.includes(dyno.id))).toBe(false)
    expect((await stage.get('pony-staging', '/up')).status).toBe(200)
  }, 60_000)

  test('a crashed dyno is an error at once, with the end of its log', async () => {
    stage.heroku.faults.on.crashDynos.add('worker')
    await expect(stage.run(() => stage.staging.workers.restart())).rejects.toMatchObject({
      code: 'heroku-crashed',
      detail: expect.stringContaining('configured to crash'),
    })
    stage.heroku.faults.on.crashDynos.clear()
    await stage.run(() => stage.staging.workers.restart())
  }, 60_000)

  test('an unknown process type and the quota are refused in words', async () => {
    await expect(stage.run(() => stage.staging.workers.scale({ wroker: 1 }))).rejects.toMatchObject({
      code: 'no-process-type',
      next: expect.stringContaining('worker'),
    })
    stage.heroku.faults.on.dynoQuota = 4
    await expect(stage.run(() => stage.staging.workers.scale({ worker: 9 }))).rejects.toMatchObject({
      code: 'heroku-quota',
    })
    stage.heroku.faults.on.dynoQuota = 100
  }, 60_000)
})

describe('one-off commands', () => {
  test.each([false, true])(
    'give their output and their own exit status (in pieces: %s)',
    async (pieces) => {
      stage.heroku.faults.on.splitRendezvous = pieces
      const { value, events } = await stage.run(() =>
        stage.staging.run(['sh', '-c', 'echo "to out: $DATABASE_URL" | cut -c1-7; echo ä >&2; exit 3']),
      )
      stage.heroku.faults.on.splitRendezvous = false
      expect(value).toBe(3)
      const shown = events.flatMap((event) => (event.type === 'command.output' ? [event.text] : [])).join('')
      expect(shown).toBe('to out:\nä\n')
    },
    60_000,
  )

  test('take words with spaces and quotes as they are', async () => {
    const { value, events } = await stage.run(() => stage.staging.run(['printf', '%s|', "it's", 'a  b', '$HOME']))
    expect(value).toBe(0)
    expect(events.flatMap((event) => (event.type === 'command.output' ? [event.text] : [])).join('')).toBe(
      "it's|a  b|$HOME|",
    )
  }, 60_000)

  test('named by a process type run that type', async () => {
    const { events } = await stage.run(() => stage.staging.run(['web'], { detach: true }))
    const name = events.flatMap((event) => (event.type === 'note' ? [/^run\.\d+/.exec(event.text)?.[0] ?? ''] : []))[0]!
    // Its log is where the note says.
    expect(events).toContainEqual(expect.objectContaining({ text: expect.stringContaining(`logs:source=${name}`) }))
    const controller = new AbortController()
    const follow = () => stage.staging.logs({ follow: true, source: name, grep: 'listens on' })
    const until = (lines: LogLine[]): boolean => lines.length > 0
    await stage.run(() => collect(follow(), until, controller), {}, { signal: controller.signal })
    await api(stage.heroku, 'POST', `/apps/pony-staging/dynos/${name}/actions/stop`)
  }, 60_000)

  test('are started once when the reply to the start is lost', async () => {
    stage.heroku.faults.add('POST', /\/dynos$/, { kind: 'lose-reply' })
    const before = stage.heroku.seen.filter(
      (call) => call.method === 'POST' && call.template === '/apps/:app/dynos',
    ).length
    expect((await stage.run(() => stage.staging.run(['true']))).value).toBe(0)
    expect(
      stage.heroku.seen.filter((call) => call.method === 'POST' && call.template === '/apps/:app/dynos').length -
        before,
    ).toBe(1)
  }, 60_000)
})

/** Lines as they come, until there are enough of them. */
const collect = async (
  lines: AsyncIterable<LogLine>,
  until: (all: LogLine[]) => boolean,
  controller: AbortController,
): Promise<LogLine[]> => {
  const all: LogLine[] = []
  for await (const line of lines) {
    all.push(line)
    if (until(all)) controller.abort()
  }
  return all
}

describe('logs', () => {
  beforeAll(async () => {
    await stage.run(() => stage.staging.workers.scale({ worker: 1 }))
  })

  test.each(['plain', 'events'] as const)(
    'are followed through a cut without a line twice or missing (%s)',
    async (format) => {
      stage.heroku.faults.on.logFormat = format
      stage.heroku.faults.on.cutStreamsAfter = 600
      const controller = new AbortController()
      const { value } = await stage.run(
        () =>
          collect(
            stage.staging.workers.tail({ follow: true, lines: 5, grep: '^beat' }),
            (all) => all.length >= 15,
            controller,
          ),
        {},
        { signal: controller.signal },
      )
      stage.heroku.faults.on.logFormat = 'negotiate'
      const beats = value
        .filter((line) => line.text.startsWith('beat') && line.source === 'worker.1')
        .map((line) => Number(line.text.slice(5)))
      expect(beats.length).toBeGreaterThan(10)
      expect(beats).toEqual(beats.map((_, n) => beats[0]! + n))
      expect(value.some((line) => line.mark)).toBe(false)
    },
    60_000,
  )

  test.each(['plain', 'events'] as const)(
    'are followed through sessions that expire: each line of two dynos once, in order, and no history (%s)',
    async (format) => {
      const { log } = await import('../../../src/sandbox/heroku/logs.ts')
      const { on } = stage.heroku.faults
      const said: string[] = []
      let moment = 0
      // Every third line is said at the same moment as the one before.
      const say = (): void => {
        if (said.length % 3 !== 2) moment += 1
        said.push(`line ${said.length + 1}`)
        const dyno = `${format}.${1 + (said.length % 2)}`
        log({ faults: { now: () => new Date(moment) } } as never, app(), 'app', dyno, said.at(-1)!)
      }
      for (let n = 0; n < 9; n += 1) say()
      const until = (what: () => void): Promise<void> => vi.waitFor(what, { timeout: 20_000, interval: 5 })
      const opened = (): number => stage.heroku.seen.filter((call) => call.template === '/_logs/:id').length
      const lines: LogLine[] = []
      const allSeen = (): Promise<void> => until(() => expect(lines.at(-1)?.text).toBe(said.at(-1)))
      const controller = new AbortController()
      on.logFormat = format
      await stage.run(
        async () => {
          const following = (async () => {
            for await (const line of stage.staging.logs({ follow: true, lines: 1, source: format })) lines.push(line)
          })()
          await allSeen()
          for (let round = 0; round < 3; round += 1) {
            const before = opened()
            on.expireSessions = true
            // The session ends within this line, and so does every new one at once.
            say()
            await until(() => expect(opened()).toBeGreaterThan(before))
            for (let n = 0; n < 3; n += 1) say()
            on.expireSessions = false
            await allSeen()
          }
          controller.abort()
          await following
        },
        {},
        { signal: controller.signal },
      )
      on.logFormat = 'negotiate'
      expect(lines.map((line) => line.text)).toEqual(said.slice(8))
      expect(new Set(lines.map((line) => line.source))).toEqual(new Set([`${format}.1`, `${format}.2`]))
    },
    60_000,
  )

  test('of the last lines end by themselves', async () => {
    const controller = new AbortController()
    const { value } = await stage.run(() => collect(stage.staging.logs({ lines: 4 }), () => false, controller))
    expect(value).toHaveLength(4)
  })

  test('mark a gap where more was said than the platform keeps', async () => {
    const { log } = await import('../../../src/sandbox/heroku/logs.ts')
    const { on } = stage.heroku.faults
    let said = 0
    const say = (): void => {
      said += 1
      log({ faults: { now: () => new Date(said) } } as never, app(), 'app', 'burst.1', String(said))
    }
    for (let n = 0; n < 3; n += 1) say()
    const lines: LogLine[] = []
    const allSeen = (): Promise<void> =>
      vi.waitFor(() => expect(lines.at(-1)?.text).toBe(String(said)), { timeout: 20_000, interval: 5 })
    const controller = new AbortController()
    await stage.run(
      async () => {
        const following = (async () => {
          for await (const line of stage.staging.logs({ follow: true, lines: 3, source: 'burst' })) lines.push(line)
        })()
        await allSeen()
        on.expireSessions = true
        for (let n = 0; n < 1600; n += 1) say()
        on.expireSessions = false
        await allSeen()
        controller.abort()
        await following
      },
      {},
      { signal: controller.signal },
    )
    expect(lines.slice(0, 4).map((line) => line.mark ?? line.text)).toEqual(['1', '2', '3', 'gap'])
    const after = lines.slice(4).map((line) => Number(line.text))
    expect(after[0]).toBeGreaterThan(4)
    expect(after).toEqual(after.map((_, n) => after[0]! + n))
  }, 60_000)
})

describe('settings', () => {
  test('are one batch and one release, and nothing at all when they are equal', async () => {
    const before = app().releases.length
    const first = await stage.run(() => stage.staging.settings.set({ A: 'one', B: 'line\nbreak', OLD: 'x' }))
    expect(first.value).toEqual(['A', 'B', 'OLD'])
    expect(app().releases.length - before).toBe(1)
    expect((await stage.run(() => stage.staging.settings.set({ A: 'one' }))).value).toEqual([])
    expect((await stage.run(() => stage.staging.settings.set({ OLD: null }))).value).toEqual(['OLD'])
    expect((await stage.get('pony-staging', '/env?B')).body).toBe('line\nbreak')
  }, 60_000)

  test('come from the file: byte for byte, generated once, derived from others', async () => {
    writeFileSync(
      join(stage.dir, 'config/staging.env'),
      `GOOGLE_CREDENTIALS='{"key": "-----BEGIN\\nx", "n": 1}'\nSECRET_KEY={{ generate:SECRET_KEY }}\nMULTI="a\\nb"\nREDIS="{{ A | suffix:?ssl_cert_reqs=none }}"\n# a comment\nPLAIN=two words # said\n`,
    )
    stage.staging = stage.deployment('staging', { settings: 'staging.env' })
    const diff = (await stage.run(() => stage.staging.settings.diff())).value
    expect(diff.map((each) => `${each.change} ${each.name}`)).toEqual([
      'add GOOGLE_CREDENTIALS',
      'add MULTI',
      'add PLAIN',
      'add REDIS',
      'add SECRET_KEY',
    ])
    await stage.run(() => stage.staging.settings.push())
    const first = (await stage.run(() => stage.staging.settings.get())).value
    expect(first).toMatchObject({
      GOOGLE_CREDENTIALS: '{"key": "-----BEGIN\\nx", "n": 1}',
      MULTI: 'a\nb',
      PLAIN: 'two words',
      REDIS: 'one?ssl_cert_reqs=none',
    })
    expect(first['SECRET_KEY']).toHaveLength(64)
    expect((await stage.run(() => stage.staging.settings.push())).value).toEqual([])
    stage.staging = stage.deployment('staging', { settings: undefined })
  }, 60_000)
})

describe('status', () => {
  test('of 5 dynos and 6 add-ons is one round of parallel requests', async () => {
    for (const plan of ['papertrail', 'newrelic', 'memcachier', 'heroku-redis', 'mailgun'])
      await api(stage.heroku, 'POST', '/apps/pony-staging/addons', { plan })
    await stage.run(() => stage.staging.workers.scale({ worker: 4 }))
    const from = stage.heroku.seen.length
    const { value } = await stage.run(() => stage.staging.status())
    const paths = stage.heroku.seen.slice(from).map((call) => call.path)
    expect(paths).toHaveLength(8)
    expect(new Set(paths).size).toBe(8)
    expect(value).toMatchObject({
      name: 'staging',
      release: 'pony-staging',
      role: 'staging',
      healthy: true,
      maintenance: false,
      databases: [{ ok: true }],
    })
    expect([...value.server, ...value.workers]).toHaveLength(5)
    await stage.run(() => stage.staging.workers.scale({ worker: 1 }))
  }, 60_000)

  test("is told, and deploys and their output end, where the platform's clock is ten minutes off", async () => {
    for (const minutes of [10, -10]) {
      stage.heroku.faults.on.clockSkewMs = minutes * 60_000
      await stage.run(() => stage.staging.deploy())
      const { value } = await stage.run(() => stage.staging.status())
      expect(value).toMatchObject({ healthy: true, version: { current: true }, warnings: [] })
      // Never a time that has not been yet.
      expect(value.server[0]?.uptimeSeconds).toBeGreaterThanOrEqual(0)
    }
    stage.heroku.faults.on.clockSkewMs = 0
  }, 60_000)
})

describe('maintenance', () => {
  test('is off again after a failure inside', async () => {
    await expect(
      stage.run(() =>
        stage.staging.maintenance.during(async () => {
          expect((await stage.get('pony-staging', '/up')).status).toBe(503)
          throw new Error('inside')
        }),
      ),
    ).rejects.toThrow('inside')
    expect((await stage.get('pony-staging', '/up')).status).toBe(200)
  }, 60_000)

  test('is off again after an abort inside', async () => {
    const controller = new AbortController()
    await expect(
      stage.run(
        () =>
          stage.staging.maintenance.during(async () => {
            controller.abort()
            await stage.staging.status()
          }),
        {},
        { signal: controller.signal },
      ),
    ).rejects.toMatchObject({ code: 'aborted' })
    expect(app().maintenance).toBe(false)
  }, 60_000)
})

describe('rollback', () => {
  test('says first what it does to the settings, and goes back to the code before', async () => {
    stage.commit({ 'version.txt': '2' })
    await stage.run(() => stage.staging.deploy())
    await stage.run(() => stage.staging.settings.set({ NEWER: 'yes' }))
    const { value, events } = await stage.run(() => stage.staging.rollback())
    expect(value.description).toMatch(/^Rollback to v\d+$/)
    expect((await stage.get('pony-staging', '/up')).version).toBe('1')
    expect(events.some((event) => event.type === 'warning' && /-NEWER/.test(event.text))).toBe(true)
    await expect(stage.run(() => stage.staging.rollback({ to: 'v999' }))).rejects.toMatchObject({ code: 'no-version' })
  }, 60_000)

  test('reverses migrations first, while the code that knows them runs', async () => {
    stage.staging = stage.deployment('staging', {
      app: { ...stage.config.app, migrations: { list: 'python3 migrate.py list', reverse: 'python3 migrate.py down' } },
    })
    const before = (await stage.run(() => stage.staging.status())).value.version!.id
    stage.commit({
      'version.txt': '3',
      'migrations/0002_colour.sql': 'ALTER TABLE pledges ADD colour text;',
      'migrations/0002_colour.down.sql': 'ALTER TABLE pledges DROP colour;',
    })
    await stage.run(() => stage.staging.deploy())
    const columns = (): Promise<string> =>
      stage.heroku.sql(
        'pony-staging',
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'pledges' AND column_name = 'colour'",
      )
    expect(await columns()).toBe('1')
    await stage.run(() => stage.staging.rollback({ to: before, migrate: true }))
    expect(await columns()).toBe('0')
    stage.staging = stage.deployment('staging', { app: stage.config.app })
  }, 60_000)
})

describe('after all that', () => {
  test('another size replaces the dynos of its type alone, once; a size that there is not is told with those there are', async () => {
    const ids = (type: string) =>
      app()
        .dynos.filter((dyno) => dyno.type === type && dyno.state === 'up')
        .map((dyno) => dyno.id)
    await stage.run(() => stage.staging.workers.scale({ worker: 1 }))
    // What earlier changes replaced is given its time to stop.
    await vi.waitFor(() => expect([ids('web').length, ids('worker').length]).toEqual([1, 1]), 30_000)
    const before = { web: ids('web'), worker: ids('worker') }
    await stage.run(() => stage.staging.resize({ worker: 'standard-1x' }))
    expect(app().formation.get('worker')).toMatchObject({ size: 'Standard-1X', quantity: 1 })
    expect(ids('web')).toEqual(before.web)
    await vi.waitFor(() => {
      expect(ids('worker')).toHaveLength(1)
      expect(ids('worker').filter((id) => before.worker.includes(id))).toEqual([])
    }, 30_000)
    const after = ids('worker')
    await stage.run(() => stage.staging.resize({ worker: 'Standard-1X' }))
    expect(ids('worker')).toEqual(after)
    await expect(stage.run(() => stage.staging.resize({ worker: 'gigantic' }))).rejects.toMatchObject({
      code: 'heroku-dyno-size',
      message: 'pony-staging: No such dyno size as gigantic.',
      next: expect.stringContaining('standard-2x'),
    })
    await expect(stage.run(() => stage.staging.resize({ nobody: 'eco' }))).rejects.toMatchObject({
      code: 'no-process-type',
    })
  }, 60_000)
})
