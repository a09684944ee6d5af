import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeEntries, encodeEntry } from '../../../src/engine/index.ts'
import { AbortedError, type SlipwayError } from '../../../src/events/index.ts'
import { demote, promote, promotions } from '../../../src/targets/vps/promotion/index.ts'
import { vpsStore } from '../../../src/targets/vps/store/index.ts'
import { hostIsBusy, journalText, standStill as stoppedAt, until } from '../../faults/inject.ts'
import { audit } from '../../faults/load.ts'
import { makeWorld, type World } from '../../faults/world.ts'

/** Two operators, one host; each test goes on from where the last one left it. */
let world: World
let settingsWere: string[]
beforeAll(async () => {
  world = await makeWorld()
  settingsWere = settingsOfStaging()
}, 120_000)
afterAll(() => world?.remove())

const settingsOfStaging = () =>
  ['bin/start', 'etc/supervisord.conf', 'settings/active', '.slipway/scale.json'].map((name) => {
    const path = `${world.home}/webapps/pony2026r2/${name}`
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  })

const told = (from: number, text: string) =>
  world.events.slice(from).some((event) => JSON.stringify(event).includes(text))

/** Has the newest change stand still at a step, on the host; resolves with what lets it go on. */
async function standStill(place: string): Promise<() => void> {
  const folder = await stoppedAt(world, place)
  return () => rmSync(`${folder}/paused`)
}

/** As if the promotion had applied the last migration: its journal says what there was before. */
function asIfMigrated(): void {
  const folder = `${world.home}/.slipway/pony/journals`
  for (const name of readdirSync(folder)) {
    const entries = decodeEntries(readFileSync(`${folder}/${name}`, 'utf8'))
    const changed = entries.map((entry) =>
      entry.entry === 'outcome' && entry.step === 'migrate' && entry.data
        ? { ...entry, data: { ...entry.data, before: ['0001_brevets_and_riders', '0002_settings'] } }
        : entry,
    )
    writeFileSync(`${folder}/${name}`, changed.map(encodeEntry).join(''))
  }
}

/** The same is asked of single failures in test/unit/promotion. */
const itLong = it.skipIf(!process.env['SLIPWAY_TEST_LONG'])

describe('operators', () => {
  it('are told who promotes already, and since when', { timeout: 90_000 }, async () => {
    const controller = new AbortController()
    const first = world
      .run((from, to) => promote(from, to), { signal: controller.signal })
      .catch((error: unknown) => error)
    const goOn = await standStill('rehearse before')
    await expect(world.run((from, to) => promote(from, to))).rejects.toMatchObject({
      code: expect.stringMatching(/^(locked|unfinished-change)$/),
      message: expect.stringMatching(/ by \S+ on \S+ \(promote pony2026r2\)/),
    })
    controller.abort(new AbortedError('Ctrl-C'))
    const error = (await first) as { exitCode: number; state: string }
    expect(error.exitCode).toBe(130)
    expect(error.state).toContain('unfinished')
    goOn()
    expect(world.site()).toBe('pony2026r1/run/app-a.sock')
  })

  it('may go on with one that was killed while it replaced the settings', { timeout: 90_000 }, async () => {
    // As a tool leaves it that is killed before the last file: begun, and not known to be done.
    const [change] = readdirSync(`${world.home}/.slipway/pony/changes`)
    const folder = `${world.home}/.slipway/pony/changes/${change}`
    await until(() => !hostIsBusy(world), 'its step has ended')
    rmSync(`${folder}/settings-done`)
    writeFileSync(`${folder}/pause`, 'rehearse before')
    const journal = `${world.home}/.slipway/pony/journals/${change}.journal`
    const entries = decodeEntries(readFileSync(journal, 'utf8'))
    const begun = entries.findIndex((entry) => entry.entry === 'intent' && entry.step === 'settings')
    writeFileSync(
      journal,
      entries
        .slice(0, begun + 1)
        .map(encodeEntry)
        .join(''),
    )
    const controller = new AbortController()
    const second = world
      .run((from, to) => promote(from, to, { resume: true }), { signal: controller.signal })
      .catch((error: unknown) => error)
    await until(() => existsSync(`${folder}/paused`), 'it stands still again')
    expect(settingsOfStaging()).not.toEqual(settingsWere)
    controller.abort(new AbortedError('Ctrl-C'))
    await second
    rmSync(`${folder}/paused`)
  })

  it('may take back what another began, before the window', { timeout: 90_000 }, async () => {
    const result = await world.run((from, to) => promote(from, to, { undo: true }))
    expect(result?.result).toBe('undone')
    expect(settingsOfStaging()).toEqual(settingsWere)
    expect(world.site('staging')).toBe('pony2026r2/run/app-a.sock')
    expect(world.roles()).toEqual({ production: 'pony2026r1', staging: 'pony2026r2' })
  })

  it('whose lock was broken meanwhile fail at their next step, and another takes it back', {
    timeout: 120_000,
  }, async () => {
    const first = world.run((from, to) => promote(from, to)).catch((error: unknown) => error)
    const goOn = await standStill('rehearse before')
    const broken = await world.run((_, to) => {
      const by = { run: 'other', user: 'bob', machine: 'elsewhere', command: 'tasks unlock' }
      return vpsStore(to.home(), 'pony').breakLock('production', by)
    })
    expect(broken?.command).toBe('promote pony2026r2')
    goOn()
    expect(await first).toMatchObject({ undone: false, message: expect.stringContaining('no longer held by this run') })
    expect(world.site()).toBe('pony2026r1/run/app-a.sock')
    const result = await world.run((from, to) => promote(from, to, { undo: true }))
    expect(result?.result).toBe('undone')
    expect(world.roles()).toEqual({ production: 'pony2026r1', staging: 'pony2026r2' })
  })

  it('may have the host turn round in the window, as long as requests wait', { timeout: 120_000 }, async () => {
    const controller = new AbortController()
    const detached = world
      .run((from, to) => promote(from, to), { signal: controller.signal })
      .catch((error: unknown) => error)
    const goOn = await standStill('copy after')
    controller.abort(new AbortedError('Ctrl-C'))
    expect(await detached).toMatchObject({ exitCode: 130 })
    const mark = world.events.length
    const undoing = world.run((from, to) => promote(from, to, { undo: true }))
    await until(() => told(mark, 'is asked to go back'), 'the other operator asks it to')
    goOn()
    expect((await undoing)?.result).toBe('undone')
    expect(journalText(world)).toContain('an operator asked the host to go back')
    expect(world.site()).toBe('pony2026r1/run/app-a.sock')
    expect(world.roles()).toEqual({ production: 'pony2026r1', staging: 'pony2026r2' })
  })

  it('who press Ctrl-C in the window only stop watching: the host finishes its part', {
    timeout: 120_000,
  }, async () => {
    const controller = new AbortController()
    const detached = world
      .run((from, to) => promote(from, to), { signal: controller.signal })
      .catch((error: unknown) => error)
    const goOn = await standStill('drain-workers before')
    controller.abort(new AbortedError('Ctrl-C'))
    expect(await detached).toMatchObject({ exitCode: 130 })
    goOn()
    await until(() => !hostIsBusy(world), 'the host is done')
    expect(world.site()).toBe('pony2026r2/run/app-a.sock')
    expect(world.roles()).toMatchObject({ production: 'pony2026r2' })
    await expect(world.run((from, to) => promote(from, to, { undo: true }))).rejects.toMatchObject({
      code: 'past-return',
      next: expect.stringContaining('demote'),
    })
    const result = await world.run((from, to) => promote(from, to, { resume: true }))
    expect(result?.result).toBe('done')
    expect(journalText(world)).toContain('"result":"done"')
  })

  it.each([
    ['where a migration can not be reversed', '--reverse-to', '--no-such-option'],
    ['where nobody says how', /migrations = list: .*\n +reverse: .*\n/, ''],
  ] as const)(
    'are refused to go back %s, and have a backup of it all',
    { timeout: 90_000 },
    async (_, text, instead) => {
      const load = world.load({ connections: 2, writes: 1 })
      await load.reached(20)
      const written = await load.stop()
      asIfMigrated()
      const file = `${world.dir}/config/deploy.ini`
      const ini = readFileSync(file, 'utf8')
      writeFileSync(file, ini.replace(text, instead))
      expect(readFileSync(file, 'utf8')).not.toBe(ini)
      const backups = `${world.home}/.slipway/pony/backups`
      const before = existsSync(backups) ? readdirSync(backups) : []
      const refused = await world.run((from, to) => demote(from, to)).catch((error: SlipwayError) => error)
      writeFileSync(file, ini)
      const [taken, ...others] = readdirSync(backups).filter((name) => !before.includes(name))
      expect(others).toEqual([])
      expect(refused).toMatchObject({
        code: 'demote-refused',
        state: expect.stringContaining(`in the backup ${taken}.`),
      })
      const riders = execFileSync('sqlite3', [`${backups}/${taken}/main.sqlite`, 'SELECT name FROM riders'])
      expect(audit(written, riders.toString().split('\n').filter(Boolean))).toEqual({ missing: [], twice: [] })
      expect(readdirSync(`${backups}/${taken}`)).toContain('queue.sqlite')
      expect(world.site()).toBe('pony2026r2/run/app-a.sock')
    },
  )

  itLong(
    'have no backup, and are told what it was, where going back failed of something else',
    {
      timeout: 90_000,
    },
    async () => {
      asIfMigrated()
      const file = `${world.dir}/config/deploy.ini`
      const ini = readFileSync(file, 'utf8')
      writeFileSync(file, ini.replace(/^health = .*$/m, 'health = /nowhere\nhealth_deadline = 1s'))
      const before = readdirSync(`${world.home}/.slipway/pony/backups`)
      const failed = await world.run((from, to) => demote(from, to)).catch((error: SlipwayError) => error)
      writeFileSync(file, ini)
      expect(failed).toMatchObject({
        code: 'step-failed',
        step: 'trial',
        undone: true,
        message: expect.stringMatching(/is not healthy: .*404/),
      })
      expect(readdirSync(`${world.home}/.slipway/pony/backups`)).toEqual(before)
      expect(world.site()).toBe('pony2026r2/run/app-a.sock')
    },
  )

  it('are told of that backup where only what comes after it failed', { timeout: 90_000 }, async () => {
    asIfMigrated()
    const file = `${world.dir}/config/deploy.ini`
    const ini = readFileSync(file, 'utf8')
    const none = ini.replace(/migrations = list: .*\n +reverse: .*\n/, '')
    writeFileSync(file, `${none}\n[app.hooks]\nafter_backup = echo the vault is away >&2; exit 3\n`)
    const mark = world.events.length
    const refused = await world.run((from, to) => demote(from, to)).catch((error: SlipwayError) => error)
    writeFileSync(file, ini)
    expect(refused).toMatchObject({ code: 'schema-unknown' })
    const warnings = world.events.slice(mark).flatMap((event) => (event.type === 'warning' ? [event.text] : []))
    expect(warnings.join('\n')).toMatch(/^after backup: .* failed\. The backup production-\S+ is there, and whole\.$/m)
  })

  it('go back past a migration, which is reversed on the copy', { timeout: 90_000 }, async () => {
    const oldCode = `${world.release('pony2026r1')}/versions`
    const version = readdirSync(oldCode)[0] as string
    const migrations = `${oldCode}/${version}/pony/migrations.py`
    // The old code would miss what was taken away, and is not asked to write: only the schema matters here.
    expect(readFileSync(migrations, 'utf8')).toContain('0003_rider_keys_and_outbox')
    await world.run((from, to) => demote(from, to))
    expect(world.query('pony2026r1', 'pony', 'SELECT name FROM migrations ORDER BY name')).toEqual([
      '0001_brevets_and_riders',
      '0002_settings',
    ])
    expect(world.query('pony2026r1', 'pony', "SELECT count(*) FROM sqlite_master WHERE name = 'outbox'")).toEqual(['0'])
    const [last] = await world.run((_, to) => promotions(to))
    expect(last).toMatchObject({ result: 'done', release: 'pony2026r1' })
  })
})
