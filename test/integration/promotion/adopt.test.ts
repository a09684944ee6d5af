import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { deployByHand, isUp } from '../../faults/by-hand.ts'
import { until } from '../../faults/inject.ts'
import { makeWorld, type World } from '../../faults/world.ts'
import { ask } from '../../servers/pony.ts'
import { freePort } from '../../servers/ports.ts'

/**
 * An app that was deployed by hand, in the layout that the first fabfile had: the code, its virtualenv's bin/start and
 * its databases side by side in one folder. Each test goes on from where the last one left it.
 */
let world: World
let folder: string
let port: number

beforeAll(async () => {
  world = await makeWorld({ production: false })
  folder = `${world.home}/webapps/pony2013r1`
  port = await freePort()
  deployByHand(world, {
    folder,
    port,
    start: 'python3 -m pony.web </dev/null >>../pyramid.log 2>&1 &\necho $! >../pid',
  })
  await until(() => isUp(port), 'the app that was deployed by hand answers')
}, 120_000)
afterAll(() => world?.remove())

const enter = async (name: string) => {
  const answer = await ask(
    { port, host: '127.0.0.1' },
    {
      method: 'POST',
      path: '/brevets/300/riders',
      body: JSON.stringify({ name, email: `${name}@example.org` }),
      headers: { 'content-type': 'application/json' },
    },
  )
  expect(answer.status).toBeLessThan(400)
}
const ridersIn = (file: string) =>
  execFileSync('sqlite3', [file, "SELECT name FROM riders WHERE name LIKE 'w-%' ORDER BY name"], { encoding: 'utf8' })
    .split('\n')
    .filter(Boolean)
const adopting = (more: object = {}) =>
  world.run((from, to) => promote(from, to, { adopt: { from: '~/webapps/pony2013r1', ...more } }))

describe('an app that was deployed by hand', () => {
  it('is not adopted before it is known how it is started again, and where its data lies', async () => {
    await expect(adopting()).rejects.toMatchObject({ code: 'adopt-start' })
    await expect(adopting({ start: 'bin/start', data: { main: 'nowhere.sqlite' } })).rejects.toMatchObject({
      code: 'adopt-data',
      detail: expect.stringContaining('pony.sqlite'),
    })
    const nowhere = { adopt: { from: '~/webapps/pony1999' } }
    await expect(world.run((from, to) => promote(from, to, nowhere))).rejects.toMatchObject({ code: 'adopt-folder' })
    expect(isUp(port)).toBe(true)
  })

  it('goes on as it was, with its data, where adopting it fails', { timeout: 120_000 }, async () => {
    await enter('w-before')
    const file = `${folder}/db/pony.sqlite`
    // It has stopped when that is found out, and so is started again.
    const failing = adopting({ start: 'bin/start', stop: 'kill "$(cat pid)"; exit 3' })
    await expect(failing).rejects.toMatchObject({
      undone: true,
      message: expect.stringMatching(/^stop what runs in .*exit status 3/s),
    })
    await until(() => isUp(port), 'it answers again')
    expect(ridersIn(file)).toEqual(['w-before'])
    expect(world.site('staging')).toBe('pony2026r2/run/app-a.sock')
  })

  it('becomes the former production: stopped, its data carried over and kept', { timeout: 120_000 }, async () => {
    await enter('w-last')
    const result = await adopting({ start: 'bin/start' })
    expect(result?.result).toBe('done')
    expect(isUp(port)).toBe(false)
    expect(world.roles()).toEqual({ production: 'pony2026r2' })
    expect(ridersIn(`${world.release('pony2026r2')}/shared/db/pony.sqlite`)).toEqual(['w-before', 'w-last'])
    expect(existsSync(`${folder}/db/pony.sqlite`)).toBe(false)
    expect(ridersIn(`${folder}/db/pony.sqlite.fenced-${result?.id}`)).toEqual(['w-before', 'w-last'])
    const answer = await ask({ port: world.sandbox.httpPort }, { path: '/up', headers: { host: 'pony.example.org' } })
    expect(`${answer.status} ${answer.headers['x-release']}`).toMatch(/^200 pony2026r2\//)
    await expect(adopting({ start: 'bin/start' })).rejects.toMatchObject({ code: 'already-production' })
  })
})
