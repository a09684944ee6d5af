import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { audit } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'

let world: World

beforeAll(async () => {
  world = await makeWorld()
}, 60_000)
afterAll(() => world?.remove())

describe('a promotion under load', () => {
  it('fails no request and loses no write', { timeout: 120_000 }, async () => {
    const load = world.load()
    await load.reached(500)
    const report = await world
      .run((from, to) => promote(from, to))
      .catch((error) => {
        console.log(error, error.detail, error.state)
        throw error
      })
    await load.reached(load.report.requests + 500)
    const client = await load.stop()
    console.log(report, { ...client, acknowledged: client.acknowledged.length })
    expect(client.failed).toEqual([])
    expect(audit(client, marksIn(world, 'pony2026r2'))).toEqual({ missing: [], twice: [] })
    expect(world.roles()).toEqual({ production: 'pony2026r2', former: 'pony2026r1' })
    expect(world.site()).toBe('pony2026r2/run/app-a.sock')
  })
})
