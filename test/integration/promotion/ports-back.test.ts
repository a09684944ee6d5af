import { afterAll, beforeAll, expect, it } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { audit } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'
import { freePort } from '../../servers/ports.ts'

let world: World
beforeAll(async () => {
  const port = await freePort()
  world = await makeWorld({
    initApps: true,
    // Goes well when it is tried, and fails in the window.
    ini: (text) =>
      text
        .replace('listen = socket', `listen = port ${port}`)
        .replace(
          'migrate = python3 -m pony.migrate',
          'migrate = [ "$SLIPWAY_DEPLOYMENT" = staging ] || mkdir ../../tried',
        ),
  })
}, 180_000)
afterAll(() => world?.remove())

it('gives the port back to the old release where the window fails, and loses no write', {
  timeout: 120_000,
}, async () => {
  const load = world.load({ connections: 4, allow: (status) => status === 502 || status === 503 })
  await load.reached(100)
  await expect(world.run((from, to) => promote(from, to), { sandbox: true })).rejects.toMatchObject({
    code: 'step-failed',
    undone: true,
  })
  await load.reached(load.report.requests + 100)
  const client = await load.stop()
  expect(client.failed).toEqual([])
  expect(Object.keys(client.releases).every((release) => release.startsWith('pony2026r1/'))).toBe(true)
  expect(audit(client, marksIn(world, 'pony2026r1'))).toEqual({ missing: [], twice: [] })
  expect(world.roles()).toEqual({ production: 'pony2026r1', staging: 'pony2026r2' })
})
