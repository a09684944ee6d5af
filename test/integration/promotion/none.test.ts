import { afterAll, beforeAll, expect, it } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { audit } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'

let world: World
beforeAll(async () => {
  world = await makeWorld({ ini: (text) => text.replace('provider = nginx', 'provider = none') })
}, 180_000)
afterAll(() => world?.remove())

it('promotes behind a web server of the operator that leads to current.sock, and fails no request', {
  timeout: 120_000,
}, async () => {
  const load = world.load({ connections: 8 })
  await load.reached(100)
  await world.run((from, to) => promote(from, to), { sandbox: true })
  await load.reached(load.report.requests + 100)
  const client = await load.stop()
  expect(client.failed).toEqual([])
  expect(audit(client, marksIn(world, 'pony2026r2'))).toEqual({ missing: [], twice: [] })
  expect(world.site()).toBe('pony2026r2/run/app-a.sock')
  const gate = world.events.find((event) => event.type === 'step.started' && event.id.endsWith('/gate'))
  expect(gate).toMatchObject({ title: expect.stringContaining('where it listens') })
})
