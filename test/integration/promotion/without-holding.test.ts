import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { audit } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'

let world: World
beforeAll(async () => {
  world = await makeWorld()
}, 120_000)
afterAll(() => world?.remove())

describe('a promotion without holding requests', () => {
  it('has them answered 503 with Retry-After in the window, and by nothing else', { timeout: 120_000 }, async () => {
    const load = world.load({
      connections: 8,
      allow: (status, headers) => status === 503 && headers['retry-after'] !== undefined,
    })
    await load.reached(200)
    await world.run((from, to) => promote(from, to, { hold: false }))
    await load.reached(load.report.requests + 200)
    const client = await load.stop()
    expect(client.failed).toEqual([])
    expect(client.allowed).toBeGreaterThan(0)
    expect(audit(client, marksIn(world, 'pony2026r2'))).toEqual({ missing: [], twice: [] })
    expect(world.site()).toBe('pony2026r2/run/app-a.sock')
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
