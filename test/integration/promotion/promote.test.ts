import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { demote, promote, promotions, prunePromotions } from '../../../src/targets/vps/promotion/index.ts'
import { around, audit, type LoadReport } from '../../faults/load.ts'
import { mailsLost, makeWorld, marksIn, type World } from '../../faults/world.ts'

/** The tests follow one production through its life, each from where the last one left it. */
let world: World
const before: LoadReport[] = []
const sentinel = "é'$x Sentinel7Fragment &<>+/=~!*(ü)|"

beforeAll(async () => {
  world = await makeWorld({ settings: 'token = {{ secret:SENTINEL }}\n', env: `SENTINEL=\`${sentinel}\`\n` })
}, 120_000)
afterAll(() => world?.remove())

/** While requests come: none fails, and `release` then has every write that was ever acknowledged, once. */
async function underLoad<T>(release: string, work: () => Promise<T>): Promise<{ client: LoadReport; report: T }> {
  const load = world.load()
  const { client, value: report } = await around(load, 300, work)
  before.push(client)
  expect(client.failed).toEqual([])
  expect(world.site()).toBe(`${release}/run/app-a.sock`)
  const found = marksIn(world, release)
  for (const each of before) expect(audit(each, found)).toEqual({ missing: [], twice: [] })
  return { client, report }
}

describe('a promotion', () => {
  it('is shown with every step and changes nothing with --plan', async () => {
    const mark = world.events.length
    const result = await world.run((from, to) => promote(from, to), { planOnly: true })
    expect(result).toBeUndefined()
    const lines = world.events.slice(mark).flatMap((event) => (event.type === 'result' ? [event.text] : []))
    const text = lines
      .join('\n')
      .replaceAll(world.home, '~')
      .replace(/\d{8}T\d{6}-[0-9a-f]{4}/g, 'ID')
    expect(text).toContain('pony: pony2026r2 becomes production, in place of pony2026r1')
    expect(text).toContain('hold requests to pony.example.org')
    expect(text).toContain('undo: rename them back')
    expect(text).toMatch(/data: db\/pony.sqlite [\d.]+ kB/)
    expect(text).toContain('point pony.example.org at pony2026r2: one rename')
    expect(world.site()).toBe('pony2026r1/run/app-a.sock')
    expect(existsSync(`${world.home}/.slipway/pony/changes`)).toBe(false)
    expect(readdirSync(`${world.home}/.slipway/pony/locks`).filter((name) => name.endsWith('.lock'))).toEqual([])
  })

  it('is not done unless the name of the app is typed', async () => {
    await expect(world.run((from, to) => promote(from, to), { yes: false })).rejects.toMatchObject({
      code: 'no-terminal',
      exitCode: 2,
    })
    expect(world.site()).toBe('pony2026r1/run/app-a.sock')
  })

  it('fails no request, loses no write and no job, under load', { timeout: 120_000 }, async () => {
    const { client, report } = await underLoad('pony2026r2', () => world.run((from, to) => promote(from, to)))
    expect(client.longestMs).toBeLessThan((report?.windowMs ?? 0) + 500)
    expect(world.roles()).toEqual({ production: 'pony2026r2', former: 'pony2026r1' })
    expect(await mailsLost(world, 'pony2026r2', ['pony2026r1'], client.acknowledged)).toEqual({ lost: [], twice: [] })
  })

  it('leaves the old release stopped, with its data fenced', () => {
    const files = readdirSync(`${world.release('pony2026r1')}/shared/db`)
    expect(files.some((name) => name.startsWith('pony.sqlite.fenced-'))).toBe(true)
    expect(files).not.toContain('pony.sqlite')
  })

  it('is listed afterwards, with its window', async () => {
    const [last] = await world.run((_, to) => promotions(to))
    expect(last).toMatchObject({ result: 'done', release: 'pony2026r2', former: 'pony2026r1' })
    expect(last?.windowMs).toBeGreaterThan(0)
    expect(Object.keys(last?.times ?? {})).toContain('fence')
  })

  it('kept no secret of the settings in its journal, its log or what it told', () => {
    expect(readFileSync(`${world.release('pony2026r2')}/settings/active`, 'utf8')).toContain(`token = ${sentinel}`)
    const kept = `${world.home}/.slipway`
    const files = readdirSync(kept, { recursive: true, encoding: 'utf8', withFileTypes: true }).filter((file) =>
      file.isFile(),
    )
    const names = files.map((file) => file.name)
    expect(names).toContain('audit.log')
    expect(files.some((file) => file.parentPath.endsWith('/journals'))).toBe(true)
    const middle = [0, 1, 2].map((offset) =>
      Buffer.from(' '.repeat(offset) + sentinel)
        .toString('base64')
        .slice(4, -4),
    )
    const shown = (text: string) => ['Sentinel7Fragment', ...middle].some((form) => text.includes(form))
    expect(files.filter((file) => shown(readFileSync(`${file.parentPath}/${file.name}`, 'latin1')))).toEqual([])
    expect(world.events.filter((event) => shown(JSON.stringify(event)))).toEqual([])
  })

  it('can be gone back from with all that was written since, under load', { timeout: 120_000 }, async () => {
    // A line of a crontab that nobody remembered, in the release that was production: it comes back, late.
    const stray = `${world.release('pony2026r1')}/shared/db/pony.sqlite`
    const forgotten = `[ -e ${stray} ] || sqlite3 ${stray} 'CREATE TABLE IF NOT EXISTS forgotten (id)'`
    execFileSync('sh', ['-c', forgotten])
    const tried = `find ${world.home}/.slipway/pony/changes -name trial.json -newer ${stray}.then`
    execFileSync('touch', [`${stray}.then`])
    const cron = spawn('sh', ['-c', `while sleep 0.05; do [ -z "$(${tried})" ] || { ${forgotten}; }; done`])
    try {
      await underLoad('pony2026r1', () => world.run((from, to) => demote(from, to)))
    } finally {
      cron.kill()
    }
    const beside = readdirSync(`${world.release('pony2026r1')}/shared/db`)
    expect(beside.some((name) => /^pony\.sqlite\.stray-[^-]+-[^-]+-\d+$/.test(name))).toBe(true)
    expect(world.roles()).toMatchObject({ production: 'pony2026r1' })
    const archived = readdirSync(`${world.home}/.slipway/pony/archive`).map(
      (id) => `${world.home}/.slipway/pony/archive/${id}/pony2026r1/db/pony.sqlite`,
    )
    const [kept] = archived.filter((file) => existsSync(file))
    expect(
      execFileSync('sqlite3', [String(kept), '.tables'])
        .toString()
        .trim(),
    ).toBe('forgotten')
  })

  it('is not what going back twice does: that would be another promotion', async () => {
    await expect(world.run((from, to) => demote(from, to))).rejects.toMatchObject({
      code: 'demote-twice',
      next: expect.stringContaining('`tasks promote_staging_to_production`'),
    })
  })

  it('can be done again right after that, under load', { timeout: 120_000 }, async () => {
    await underLoad('pony2026r2', () => world.run((from, to) => promote(from, to)))
    expect(world.roles()).toEqual({ production: 'pony2026r2', former: 'pony2026r1' })
  })

  it('leaves nothing behind once it is pruned, but what production needs', async () => {
    const deleted = await world.run((_, to) => prunePromotions(to, { keep: 0 }))
    expect(deleted).toContain(world.release('pony2026r1'))
    expect(existsSync(world.release('pony2026r2'))).toBe(true)
    expect(world.roles()).toEqual({ production: 'pony2026r2' })
  })
})
