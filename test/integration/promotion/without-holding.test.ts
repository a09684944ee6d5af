import { execFile } from 'node:child_process'
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { type Built, buildSlipway, repository } from '../../built.ts'
import { around, audit, type LoadReport } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'

const isLong = process.env['SLIPWAY_TEST_LONG'] !== undefined
const itLong = it.skipIf(!isLong)

let world: World
let built: Built
const reports: LoadReport[] = []
beforeAll(async () => {
  if (isLong) built = await buildSlipway()
  world = await makeWorld()
}, 120_000)
afterAll(async () => {
  await world?.remove()
  built?.remove()
})

/** Under load: each request is answered, or told 503 with Retry-After; then `release` has all that was ever written. */
async function closed(release: string, work: () => Promise<unknown>): Promise<void> {
  const load = world.load({
    connections: 8,
    allow: (status, headers) => status === 503 && headers['retry-after'] !== undefined,
  })
  const { client } = await around(load, 200, work)
  reports.push(client)
  expect(client.failed).toEqual([])
  expect(client.allowed).toBeGreaterThan(0)
  for (const each of reports) expect(audit(each, marksIn(world, release))).toEqual({ missing: [], twice: [] })
  expect(world.site()).toBe(`${release}/run/app-a.sock`)
}

describe('a promotion without holding requests', () => {
  it('has them answered 503 with Retry-After in the window, and by nothing else', { timeout: 120_000 }, async () => {
    await closed('pony2026r2', () => world.run((from, to) => promote(from, to, { hold: false })))
  })

  itLong('can be gone back from in the same way', { timeout: 120_000 }, async () => {
    copyFileSync(join(repository, 'tasks.ts'), join(world.dir, 'tasks.ts'))
    const env = { PATH: process.env['PATH'], HOME: world.dir, XDG_CACHE_HOME: join(world.dir, 'cache') }
    const words = [built.tasks, '--sandbox', '--yes', 'demote:close=true']
    await closed('pony2026r1', () => promisify(execFile)(process.execPath, words, { cwd: world.dir, env }))
  })

  it('can be taken back by a failing step, and leaves staging and production as they were', {
    timeout: 120_000,
  }, async () => {
    const own = await makeWorld()
    try {
      const before = own.site()
      // The staging code can't migrate: found on the copy, before anybody waits.
      const version = own.run(async (_, to) =>
        to.home().run('ls ~/webapps/pony2026r2/versions', { kind: 'probe' }).text(),
      )
      writeFileSync(
        `${own.release('pony2026r2')}/versions/${(await version).trim()}/pony/migrate.py`,
        'raise SystemExit("the migration is broken")\n',
      )
      await expect(own.run((from, to) => promote(from, to))).rejects.toMatchObject({
        code: 'step-failed',
        step: 'trial',
        undone: true,
        message: expect.stringContaining('exit status 1'),
        detail: expect.stringContaining('the migration is broken'),
      })
      expect(own.site()).toBe(before)
      expect(own.site('staging')).toBe('pony2026r2/run/app-a.sock')
      expect(own.query('pony2026r2', 'pony', 'SELECT count(*) FROM riders')).toEqual(['0'])
      expect(own.roles()).toEqual({ production: 'pony2026r1', staging: 'pony2026r2' })
    } finally {
      await own.remove()
    }
  })
})
