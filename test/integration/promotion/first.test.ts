import { appendFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { makeWorld, type World } from '../../faults/world.ts'
import { ask } from '../../servers/pony.ts'

let world: World
beforeAll(async () => {
  world = await makeWorld({ production: false })
}, 120_000)
afterAll(() => world?.remove())

describe('the first promotion of an app', () => {
  it('begins with new databases, and has its domain answer', { timeout: 60_000 }, async () => {
    const told: unknown[] = []
    const hook = createServer(async (request, answer) => {
      told.push(JSON.parse(await text(request)))
      answer.end()
    })
    await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve))
    const { port } = hook.address() as AddressInfo
    const message = '{{event}} of {{app}} {{release}}: {{head}}'
    appendFileSync(
      join(world.dir, 'config/deploy.ini'),
      `\n[notify.hook]\nurl = http://127.0.0.1:${port}/\nmessage = ${message}\n`,
    )
    const report = await world.run((from, to) => promote(from, to))
    await new Promise((resolve) => hook.close(resolve))
    expect(told).toMatchObject([{ event: 'promote', text: 'promote of pony production: pony2026r2' }])
    expect(report).toMatchObject({ result: 'done', release: 'pony2026r2' })
    expect(world.roles()).toEqual({ production: 'pony2026r2' })
    expect(world.query('pony2026r2', 'pony', 'SELECT count(*) FROM riders')).toEqual(['0'])
    const answer = await ask({ port: world.sandbox.httpPort }, { path: '/up', headers: { host: 'pony.example.org' } })
    expect(answer.status).toBe(200)
    expect(String(answer.headers['x-release'])).toMatch(/^pony2026r2\//)
  })

  it('can not be done twice with the same release', async () => {
    await expect(world.run((from, to) => promote(from, to))).rejects.toMatchObject({
      code: 'already-production',
      next: expect.stringMatching(/`tasks new_staging_release:2026r\d`/),
    })
  })
})
