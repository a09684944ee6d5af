import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { demote, promote } from '../../../src/targets/vps/promotion/index.ts'
import { audit } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'

let world: World
beforeAll(async () => {
  world = await makeWorld()
}, 180_000)
afterAll(() => world?.remove())

describe('a promotion that leaves the data where it is', () => {
  it('begins with new databases, and keeps those of the old release whole', { timeout: 120_000 }, async () => {
    const load = world.load({ connections: 4 })
    await load.reached(100)
    await world.run((from, to) => promote(from, to, { data: 'fresh' }))
    await load.reached(load.report.requests + 50)
    const client = await load.stop()
    expect(client.failed).toEqual([])
    expect(world.roles()).toEqual({ production: 'pony2026r2', former: 'pony2026r1' })
    // Each acknowledged write is in the database of the release that acknowledged it.
    const both = [...marksIn(world, 'pony2026r1'), ...marksIn(world, 'pony2026r2')]
    expect(audit(client, both)).toEqual({ missing: [], twice: [] })
    expect(marksIn(world, 'pony2026r1').length).toBeGreaterThan(0)
    expect(existsSync(`${world.release('pony2026r1')}/shared/db/pony.sqlite`)).toBe(true)
  })

  it('is not gone back from: the data of the new release would take the place of what was left there', async () => {
    await expect(world.run((from, to) => demote(from, to))).rejects.toMatchObject({
      code: 'demote-fresh',
      next: expect.stringContaining('new_staging_release:2026r3'),
    })
    expect(world.roles()).toEqual({ production: 'pony2026r2', former: 'pony2026r1' })
  })

  it('has scheduled commands run in the role they are for alone, and in no unfinished change', () => {
    const scheduled = (release: string, deployment: string) =>
      execFileSync('/bin/sh', [`${world.release(release)}/bin/start`, 'scheduled', deployment, 'echo ran'], {
        env: { PATH: process.env['PATH'], HOME: world.home },
        encoding: 'utf8',
      })
    expect(scheduled('pony2026r2', 'production')).toBe('ran\n')
    expect(scheduled('pony2026r2', 'staging')).toBe('')
    expect(scheduled('pony2026r1', 'production')).toBe('')
    const journals = `${world.home}/.slipway/pony/journals`
    execFileSync('sh', ['-c', `printf '%s\\n' '00000000 {"at":"x","entry":"begin"}' > ${journals}/x.journal`])
    expect(() => scheduled('pony2026r2', 'production')).toThrow(/left out|75/)
    execFileSync('rm', [`${journals}/x.journal`])
  })
})
