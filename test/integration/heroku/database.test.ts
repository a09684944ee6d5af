import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { herokuContext } from '../../../src/targets/heroku/context.ts'
import * as postgres from '../../../src/targets/heroku/postgres.ts'
import { storeFor } from '../../../src/targets/heroku/store.ts'
import { makeApps, type Stage, setStage } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await setStage({
    apps: {
      initDb: 'python3 populate.py',
      migrate: 'python3 migrate.py',
      hooks: {
        after_restore: ['echo index rebuilt'],
        after_clone: [
          'python3 -c "import db; c=db.connect().cursor(); c.execute(\\"UPDATE pledges SET name = \'someone\'\\")"',
        ],
      },
    },
  })
  await makeApps(stage.heroku)
  await stage.run(() => stage.production.deploy())
  await stage.run(() => stage.staging.deploy())
  await stage.run(() => stage.staging.workers.scale({ worker: 2 }))
}, 90_000)
afterAll(() => stage.close())

const names = async (app: string): Promise<unknown> => (await stage.get(app, '/pledges')).body

const testLong = test.skipIf(!process.env['SLIPWAY_TEST_LONG'])

describe('a database', () => {
  test("is filled by the app's own command, once", async () => {
    await stage.run(() => stage.production.database.init())
    expect(await names('pony-production')).toEqual(['Ada', 'Brita'])
    await expect(stage.run(() => stage.production.database.init())).rejects.toMatchObject({
      code: 'has-data',
      state: 'Nothing was changed.',
    })
  }, 60_000)

  test('is backed up, and what was backed up can be fetched and read', async () => {
    const { value } = await stage.run(() => stage.production.database.backup())
    expect(value.id).toMatch(/^b\d{3}$/)
    const { value: files } = await stage.run(() => stage.production.database.fetch('backups'))
    expect(files).toEqual([join(stage.dir, 'backups', `pony-production-${value.id}.dump`)])
    expect(statSync(files[0]!).mode & 0o777).toBe(0o600)
    expect(execFileSync('pg_restore', ['-f', '-', files[0]!], { encoding: 'utf8' })).toContain('Brita')
    const { events } = await stage.run(() => stage.production.database.verify())
    expect(events.some((event) => event.type === 'note' && /2 tables|3 tables/.test(event.text))).toBe(true)
  }, 60_000)

  test('restored is what it was, with its backup schedule and the app as before', async () => {
    const context = herokuContext(stage.production.config, {
      config: stage.config,
      env: { ...stage.heroku.env, HOME: stage.dir, PATH: process.env['PATH'] },
    })
    await stage.run(async () =>
      postgres.scheduleBackups(context, await postgres.requireDatabase(context), {
        hour: 2,
        timezone: 'America/New_York',
      }),
    )
    const { value: backup } = await stage.run(() => stage.production.database.backup())
    await stage.post('pony-production', 'Late')
    const { events } = await stage.run(() => stage.production.database.restore(backup.id))
    expect(await names('pony-production')).toEqual(['Ada', 'Brita'])
    expect(stage.heroku.state.schedules).toMatchObject([
      { hour: 2, timezone: 'America/New_York', name: 'DATABASE_URL' },
    ])
    expect(events.some((event) => event.type === 'command.output' && /index rebuilt/.test(event.text))).toBe(true)
    expect(await stage.heroku.sql('pony-production', 'SELECT result FROM slipway.journals')).toBe('done')
    expect(stage.heroku.state.apps.get('pony-production')!.maintenance).toBe(false)
  }, 60_000)

  test.each([
    // In a container, the dead run's number is that of the next one.
    ['put back', process.pid, true],
    ['left out where others have gone on', 2 ** 22 + 1, false],
  ])(
    'has what a dead run kept of its journal %s',
    async (_how, pid, back) => {
      const context = herokuContext(stage.production.config, {
        config: stage.config,
        env: { ...stage.heroku.env, HOME: stage.dir, SLIPWAY_STATE_HOME: stage.dir, PATH: process.env['PATH'] },
      })
      const line = { at: '2019-12-31T00:00:00.000Z', run: 'r', who: 'Ada', what: 'restore', deployment: 'production' }
      const at = back ? new Date().toISOString() : '2020-01-01T00:00:00.000Z'
      const saved = { locks: [], journals: [], entries: [], audits: [{ n: 1, line }] }
      const folder = join(stage.dir, '.slipway', 'heroku-pony-production')
      mkdirSync(folder, { recursive: true })
      const { id: database } = stage.heroku.state.addons.find((each) => each.app.name === 'pony-production')!
      writeFileSync(join(folder, 'aside.json'), JSON.stringify({ pid, at, database, saved }))
      await stage.run(async () => (await storeFor(context)).audits(1))
      const audits = () => stage.heroku.sql('pony-production', 'SELECT count(*) FROM slipway.audits')
      expect(Number(await audits()) === 1).toBe(back)
      expect(existsSync(join(folder, 'aside.json'))).toBe(false)
      await stage.run(async () =>
        (await storeFor(context)).audit({ ...line, at: new Date().toISOString(), outcome: 'ok' }),
      )
    },
    60_000,
  )

  test('is not overwritten unless its own name is typed', async () => {
    const asked: string[] = []
    const prompter = {
      interactive: true,
      confirm: async () => true,
      confirmTyped: async (_: string, expected: string) => asked.push(expected) > 1,
      text: async () => '',
      password: async () => '',
    }
    await expect(
      stage.run(() => stage.production.database.copyTo(stage.staging), { yes: false }, { prompter }),
    ).rejects.toMatchObject({ code: 'not-confirmed' })
    expect(asked).toEqual(['pony-staging::DATABASE'])
  }, 60_000)

  test('is cloned to staging in one task: scrubbed, workers and maintenance as before, locks left out', async () => {
    await stage.run(() => stage.production.database.copyTo(stage.staging))
    expect(await names('pony-staging')).toEqual(['someone', 'someone'])
    expect(await names('pony-production')).toEqual(['Ada', 'Brita'])
    const staging = stage.heroku.state.apps.get('pony-staging')!
    expect(staging.maintenance).toBe(false)
    expect(staging.formation.get('worker')?.quantity).toBe(2)
    expect(await stage.heroku.sql('pony-staging', "SELECT count(*) FROM pg_namespace WHERE nspname = 'slipway'")).toBe(
      '0',
    )
  }, 60_000)

  test('whose copy fails is put back, and the sentence names the extension', async () => {
    await stage.post('pony-staging', 'Mine')
    stage.heroku.faults.on.failTransfers = 'extensions'
    const failing = stage.run(() => stage.production.database.copyTo(stage.staging))
    await expect(failing).rejects.toMatchObject({ message: expect.stringContaining('postgis') })
    const staging = stage.heroku.state.apps.get('pony-staging')!
    expect(staging.maintenance).toBe(false)
    expect(staging.formation.get('worker')?.quantity).toBe(2)
    expect(await names('pony-staging')).toEqual(['someone', 'someone', 'Mine'])
  }, 60_000)

  test('is copied by way of a backup where a direct copy fails', async () => {
    stage.heroku.faults.on.failTransfers = 'error'
    const { events } = await stage.run(() => stage.production.database.copyTo(stage.staging))
    expect(events.some((event) => event.type === 'warning' && /by way of a backup/.test(event.text))).toBe(true)
    expect(await names('pony-staging')).toEqual(['someone', 'someone'])
  }, 60_000)

  test('is scrubbed by SQL of the project before anything may use it; SQL that fails takes the copy back', async () => {
    const scrubbed = (text?: string) => {
      if (text !== undefined) writeFileSync(join(stage.dir, 'scrub.sql'), text)
      return stage.deployment('staging', { scrub: text === undefined ? 'nowhere.sql' : 'scrub.sql' })
    }
    const clone = (to: ReturnType<typeof scrubbed>) => stage.run(() => stage.production.database.copyTo(to))
    await expect(clone(scrubbed())).rejects.toMatchObject({ code: 'scrub', exitCode: 2 })
    await stage.post('pony-staging', 'Kept')
    await expect(clone(scrubbed('DELETE FROM pledges;\nUPDATE nothing SET a = 1;'))).rejects.toMatchObject({
      undone: true,
      cause: { code: 'database-scrub', message: expect.stringContaining('nothing') },
    })
    expect(await names('pony-staging')).toContain('Kept')
    await clone(scrubbed("INSERT INTO pledges (name) VALUES ('Scrubbed');"))
    // The hook, which comes after, renames whatever is there.
    expect(await names('pony-staging')).toEqual(['someone', 'someone', 'someone'])
    stage.staging = stage.deployment('staging', { scrub: undefined })
  }, 60_000)

  test('is cloned before a deploy where the deployment says so', async () => {
    const staging = stage.deployment('staging', { cloneOnDeploy: 'production' })
    await stage.run(() => staging.deploy())
    expect(await names('pony-staging')).toEqual(['someone', 'someone'])
  }, 60_000)

  test('whose restore was interrupted is put back, and restored, when it is run again', async () => {
    const { value: backup } = await stage.run(() => stage.production.database.backup())
    await stage.post('pony-production', 'After')
    const controller = new AbortController()
    const restoring = stage.run(() => stage.production.database.restore(backup.id), {}, { signal: controller.signal })
    while (
      !stage.heroku.state.transfers.some(
        (each) => each.toType === 'pg_restore' && each.app.name === 'pony-production' && !each.finishedAt,
      )
    )
      await new Promise((resolve) => setTimeout(resolve, 2))
    controller.abort()
    await expect(restoring).rejects.toMatchObject({ state: expect.stringContaining('unfinished') })
    await expect(stage.run(() => stage.production.deploy())).rejects.toMatchObject({ code: 'unfinished-change' })
    const { events } = await stage.run(() => stage.production.database.restore(backup.id))
    expect(events.some((event) => event.type === 'warning' && /taking back first/.test(event.text))).toBe(true)
    expect(await names('pony-production')).toEqual(['Ada', 'Brita'])
    expect(stage.heroku.state.apps.get('pony-production')!.maintenance).toBe(false)
  }, 90_000)

  // A short one beside: what is kept is put back where it is from.
  testLong(
    'whose restore nobody saw the end of is not written to before that, and restored when it is run again',
    async () => {
      const { value: backup } = await stage.run(() => stage.production.database.backup())
      const { faults, state, seen } = stage.heroku
      await stage.post('pony-production', 'Unseen')
      // The platform took it, and does not say so, nor what it does.
      faults.add('POST', /\/restores$/, { kind: 'lose-reply' })
      let from = Number.POSITIVE_INFINITY
      const told: string[] = []
      await expect(
        stage.run((run) => {
          run.bus.on((event) => {
            if (event.type === 'warning') told.push(event.text)
            // Its end can be asked for, and is not answered.
            if (event.type !== 'note' || !event.text.includes('/restores was lost')) return
            from = seen.length
            faults.add('GET', /\/transfers\/[^/]+$/, { kind: 'status', status: 403, id: 'forbidden', message: 'No.' })
          })
          return stage.production.database.restore(backup.id)
        }),
      ).rejects.toMatchObject({
        cause: { code: 'heroku-transfer-unknown' },
        state: expect.stringContaining('unfinished'),
      })
      expect(seen.slice(from).filter((call) => call.method !== 'GET')).toEqual([])
      const aside = join(stage.dir, '../.slipway/heroku-pony-production/aside.json')
      expect(told.at(-1)).toContain(aside)
      const ours = state.transfers.at(-1)!
      await vi.waitFor(() => expect(ours.finishedAt).not.toBe(null), { timeout: 20_000 })
      // What the backup had of it, and nothing of the restore itself.
      const here =
        "SELECT count(*) FROM slipway.entries WHERE entry->>'step' = 'restore' AND entry->>'direction' = 'do' AND entry->>'entry' = 'intent'"
      const before = Number(await stage.heroku.sql('pony-production', here))
      const { events } = await stage.run(() => stage.production.database.restore(backup.id))
      const warned = events.flatMap((event) => (event.type === 'warning' ? [event.text] : []))
      expect(warned[0]).toContain(
        'did not see the end of overwriting pony-production::DATABASE: its journal is put back',
      )
      expect(warned[1]).toContain('taking back first')
      expect(Number(await stage.heroku.sql('pony-production', here))).toBe(before + 2)
      expect(await names('pony-production')).toEqual(['Ada', 'Brita'])
      expect(existsSync(aside)).toBe(false)
    },
    90_000,
  )

  test('has its journal put back wherever it is attached by now, and nothing put into the one in its place', async () => {
    const context = herokuContext(stage.production.config, {
      config: stage.config,
      env: { ...stage.heroku.env, HOME: stage.dir, SLIPWAY_STATE_HOME: stage.dir, PATH: process.env['PATH'] },
    })
    const of = (name: string) => stage.heroku.state.addons.find((each) => each.app.name === name)!
    const [its, other] = [of('pony-production'), of('pony-staging')]
    const line = { at: '2019-12-31T00:00:00.000Z', run: 'r', who: 'Ada', what: 'exchange', deployment: 'production' }
    const saved = { locks: [], journals: [], entries: [], audits: [{ n: 1, line }] }
    const kept = { pid: 2 ** 22 + 1, at: new Date().toISOString(), saved }
    const aside = join(stage.dir, '.slipway/heroku-pony-production/aside.json')
    const exchanges = "SELECT count(*) FROM slipway.audits WHERE line->>'what' = 'exchange'"
    const store = () => stage.run(() => storeFor(context))
    mkdirSync(dirname(aside), { recursive: true })
    await stage.run(() => postgres.attachDatabase(context, other.name))
    try {
      writeFileSync(aside, JSON.stringify({ ...kept, database: its.id }))
      await store()
      expect(await stage.heroku.sql('pony-staging', exchanges)).toBe('0')
      expect(existsSync(aside)).toBe(false)
    } finally {
      await stage.run(() => postgres.attachDatabase(context, its.name))
    }
    expect(await stage.heroku.sql('pony-production', exchanges)).toBe('1')
    writeFileSync(aside, JSON.stringify({ ...kept, database: 'gone' }))
    const { events } = await store()
    expect(events.some((event) => event.type === 'warning' && event.text.includes(`rm ${aside}`))).toBe(true)
    rmSync(aside)
    await stage.heroku.sql('pony-staging', 'DROP SCHEMA slipway CASCADE')
  }, 60_000)

  test('is left alone while a transfer of a run that died overwrites it', async () => {
    const { transfers } = stage.heroku.state
    const last = transfers.at(-1)!
    const left = {
      ...last,
      uuid: randomUUID(),
      num: last.num + 1,
      toType: 'pg_restore',
      finishedAt: null,
    } as typeof last
    transfers.push(left)
    const waited: string[] = []
    await stage.run((run) => {
      run.bus.on((event) => {
        if (event.type !== 'note' || !event.text.startsWith('waiting for')) return
        waited.push(event.text)
        left.finishedAt = last.finishedAt
      })
      return stage.production.database.backup()
    })
    expect(waited).toEqual([
      expect.stringMatching(/^waiting for [cr]\d+, which overwrites a database of pony-production/),
    ])
  }, 60_000)

  test('knows what Django would have to migrate back to, from the times in its table', async () => {
    const { djangoTargets } = await import('../../../src/targets/heroku/reverse.ts')
    const { sql } = await import('../../../src/targets/heroku/psql.ts')
    const url = stage.heroku.state.addons.find((each) => each.app.name === 'pony-staging')?.database?.url as string
    const { value } = await stage.run(async () => {
      await sql(
        url,
        `CREATE TABLE django_migrations (id serial, app text, name text, applied timestamptz);
INSERT INTO django_migrations (app, name, applied) VALUES ('pony', '0001', '2026-01-01'), ('pony', '0002', '2026-02-01'), ('pony', '0003', '2026-06-01'), ('mail', '0001', '2026-06-01'), ('auth', '0001', '2026-01-01');`,
      )
      return sql(url, djangoTargets, { time: '2026-03-01T00:00:00Z' })
    })
    expect(value.map((line) => JSON.parse(line))).toEqual([
      { app: 'mail', name: 'zero' },
      { app: 'pony', name: '0002' },
    ])
  }, 30_000)

  test('gets values with quotes, backslashes and lines as they are', async () => {
    const { sql } = await import('../../../src/targets/heroku/psql.ts')
    const url = stage.heroku.state.addons.find((each) => each.app.name === 'pony-staging')?.database?.url as string
    const odd = 'a\'b\\c\n"d" :x ; DROP'
    expect(
      (await stage.run(() => sql(url, "SELECT to_json(:'odd'::text);", { odd }))).value.map((line) => JSON.parse(line)),
    ).toEqual([odd])
  }, 30_000)
})
