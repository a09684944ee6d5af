import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sandboxMarker } from '../../../src/sandbox/standins.ts'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
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
  mkdirSync(`${folder}/bin`, { recursive: true })
  execFileSync('cp', ['-r', `${world.dir}/examples/pony`, `${folder}/randopony`])
  writeFileSync(
    `${folder}/production.ini`,
    readFileSync(`${world.dir}/config/production.ini`, 'utf8').replace(/\{\{.*\}\}/, 'quite-a-secret'),
  )
  const environment = [
    `SLIPWAY_SETTINGS=${folder}/production.ini`,
    `SLIPWAY_SHARED=${folder}`,
    `PORT=${port}`,
    'PONY_CLUB_LINK=https://example.org/',
    'PONY_ORGANISER_EMAIL=a@example.org',
    'PONY_ADMIN_PASSWORD=allons-y',
  ].map((each) => `export ${each}`)
  const program = (line: string) => `#!/bin/sh\n${environment.join('\n')}\ncd ${folder}/randopony\n${line}\n`
  const scripts = {
    init: program('python3 -m pony.initialize_db'),
    start: program('python3 -m pony.web </dev/null >>../pyramid.log 2>&1 &\necho $! >../pid'),
  }
  for (const [name, text] of Object.entries(scripts)) writeFileSync(`${folder}/bin/${name}`, text, { mode: 0o755 })
  // With the sandbox's mark, so that nothing of it is left when that is removed.
  const env = { ...process.env, ...sandboxMarker(world.sandbox.root) }
  for (const name of ['init', 'start']) execFileSync(`${folder}/bin/${name}`, { env })
  await until(() => isUp(), 'the app that was deployed by hand answers')
}, 120_000)
afterAll(() => world?.remove())

function isUp(): boolean {
  try {
    const get = 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)'
    execFileSync('/usr/bin/python3', ['-c', get, `http://127.0.0.1:${port}/up`], { stdio: 'pipe' })
    return true
  } catch {
    return false
  }
}

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
    expect(isUp()).toBe(true)
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
    await until(isUp, 'it answers again')
    expect(ridersIn(file)).toEqual(['w-before'])
    expect(world.site('staging')).toBe('pony2026r2/run/app-a.sock')
  })

  it('becomes the former production: stopped, its data carried over and kept', { timeout: 120_000 }, async () => {
    await enter('w-last')
    const result = await adopting({ start: 'bin/start' })
    expect(result?.result).toBe('done')
    expect(isUp()).toBe(false)
    expect(world.roles()).toEqual({ production: 'pony2026r2' })
    expect(ridersIn(`${world.release('pony2026r2')}/shared/db/pony.sqlite`)).toEqual(['w-before', 'w-last'])
    expect(existsSync(`${folder}/db/pony.sqlite`)).toBe(false)
    expect(ridersIn(`${folder}/db/pony.sqlite.fenced-${result?.id}`)).toEqual(['w-before', 'w-last'])
    const answer = await ask({ port: world.sandbox.httpPort }, { path: '/up', headers: { host: 'pony.example.org' } })
    expect(`${answer.status} ${answer.headers['x-release']}`).toMatch(/^200 pony2026r2\//)
    await expect(adopting({ start: 'bin/start' })).rejects.toMatchObject({ code: 'already-production' })
  })
})
