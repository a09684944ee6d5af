/** What stops a promotion before it begins, and what ends its window: nothing is changed, or all goes back by itself. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { noPrompter, type Prompter } from '../../../src/events/index.ts'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { hostIsBusy, journalText, processes, until } from '../../faults/inject.ts'
import { audit } from '../../faults/load.ts'
import { gateToken, makeWorld, marksIn, type World } from '../../faults/world.ts'
import { ask } from '../../servers/pony.ts'

/** Nothing of what is tried here goes through: each test finds production and staging as they were. */
let world: World
let site: string
beforeAll(async () => {
  world = await makeWorld()
  site = `${world.home}/.slipway/pony/sites/production/nginx.conf`
  // Five seconds are left for the window: the rest is for starting the old app again.
  writeFileSync(site, readFileSync(site, 'utf8').replace(/proxy_read_timeout \d+s/, 'proxy_read_timeout 20s'))
  process.kill(world.sandbox.nginx.pid, 'SIGHUP')
}, 120_000)
afterAll(() => world?.remove())

const untouched = () => {
  expect(world.site()).toBe('pony2026r1/run/app-a.sock')
  expect(world.site('staging')).toBe('pony2026r2/run/app-a.sock')
  expect(world.roles()).toEqual({ production: 'pony2026r1', staging: 'pony2026r2' })
}
const nothingBegun = () => {
  untouched()
  const journals = `${world.home}/.slipway/pony/journals`
  expect(existsSync(journals) ? readdirSync(journals).filter((name) => name.endsWith('.journal')) : []).toEqual([])
}
const typing = (answer: (message: string, expected: string) => boolean): Prompter => ({
  ...noPrompter,
  interactive: true,
  confirmTyped: async (message, expected) => answer(message, expected),
})
const ini = (change: (text: string) => string): (() => void) => {
  const file = join(world.dir, 'config/deploy.ini')
  const before = readFileSync(file, 'utf8')
  expect(change(before)).not.toBe(before)
  writeFileSync(file, change(before))
  return () => writeFileSync(file, before)
}
const told = (from: number, type: string) =>
  world.events.slice(from).flatMap((event) => (event.type === type && 'text' in event ? [event.text] : []))

it('shows its plan before it asks for the app’s name, and does nothing where that is not typed', async () => {
  const mark = world.events.length
  let shown: string[] = []
  const prompter = typing((message, expected) => {
    expect([message, expected]).toEqual([expect.stringContaining('Type the app’s name'.replace('’', "'")), 'pony'])
    shown = told(mark, 'note')
    return false
  })
  const refused = world.run((from, to) => promote(from, to), { yes: false, prompter })
  await expect(refused).rejects.toMatchObject({ code: 'declined', state: 'Nothing was changed.' })
  expect(shown.join('\n')).toMatch(/pony2026r2 becomes production, in place of pony2026r1[\s\S]*hold requests/)
  nothingBegun()
})

it('is refused where what its plan was made from changed while it was read', async () => {
  const before = readFileSync(site, 'utf8')
  const prompter = typing(() => {
    writeFileSync(site, before.replace('proxy_read_timeout 20s', 'proxy_read_timeout 40s'))
    return true
  })
  try {
    const refused = world.run((from, to) => promote(from, to), { yes: false, prompter })
    await expect(refused).rejects.toMatchObject({ code: 'facts-changed' })
  } finally {
    writeFileSync(site, before)
  }
  nothingBegun()
})

it('promotes no other release than the one that is staging there, and says where the configuration is behind', async () => {
  const planned = () => world.run((from, to) => promote(from, to), { planOnly: true })
  const restore = ini((text) => text.replace('release = 2026r2', 'release = 2026r7'))
  await expect(planned()).rejects.toMatchObject({
    code: 'wrong-role',
    message: expect.stringMatching(/release is 2026r7 in .*deploy\.ini, and pony2026r2 is staging/),
    next: expect.stringContaining('Set [staging] release to 2026r2'),
  })
  restore()
  const mark = world.events.length
  const restoreAgain = ini((text) => text.replace('[production]\n', '[production]\nrelease = 2025r9\n'))
  await planned()
  restoreAgain()
  expect(told(mark, 'warning')).toEqual([
    expect.stringMatching(/says that pony2025r9 is production; .* has pony2026r1 on record/),
  ])
  untouched()
})

/** Each of these takes half a minute where others work beside it. */
const itLong = it.skipIf(!process.env['SLIPWAY_TEST_LONG'])

/** Under load: all goes back by itself, no request fails, those that waited were answered by the old release. */
async function goesBack(reason: RegExp): Promise<void> {
  const load = world.load({ connections: 4 })
  await load.reached(50)
  const error = await world.run((from, to) => promote(from, to)).catch((each: unknown) => each)
  expect(error).toMatchObject({ undone: true })
  await until(() => !hostIsBusy(world), 'the host has gone back')
  await load.reached(load.report.requests + 50)
  const client = await load.stop()
  expect(client.failed).toEqual([])
  // Long enough to have waited for the end of the window, and not so long that the web server gave up.
  expect(client.longestMs).toBeGreaterThan(2000)
  expect(client.longestMs).toBeLessThan(20_000)
  expect(Object.keys(client.releases)).toEqual([expect.stringMatching(/^pony2026r1\//)])
  expect(audit(client, marksIn(world, 'pony2026r1'))).toEqual({ missing: [], twice: [] })
  expect(journalText(world)).toMatch(reason)
  untouched()
}

itLong(
  'lets nobody in before the new release answers at the front door, and goes back at the deadline',
  async () => {
    const right = readFileSync(site, 'utf8')
    const through = async (token: string) => {
      const headers = { host: world.domain, 'x-slipway-gate': token }
      return (await ask({ port: world.sandbox.httpPort }, { path: '/up', headers })).status
    }
    // The web server knows another secret than its file says: the check comes by no way of its own.
    writeFileSync(site, right.replaceAll(gateToken, 'another'))
    process.kill(world.sandbox.nginx.pid, 'SIGHUP')
    await expect.poll(() => through('another'), { timeout: 20_000 }).toBe(502)
    await expect.poll(() => through(gateToken), { timeout: 20_000 }).toBe(200)
    writeFileSync(site, right)
    await goesBack(/is not reached through pony\.example\.org|was open for longer/)
    expect(journalText(world)).not.toMatch(/"entry":"intent"[^\n]*"step":"flip"/)
    process.kill(world.sandbox.nginx.pid, 'SIGHUP')
    await expect.poll(() => through(gateToken), { timeout: 20_000 }).toBe(502)
  },
  120_000,
)

itLong(
  'goes back at the deadline when a migration does not end, and ends that',
  async () => {
    // Ends when it is tried, and not in the window.
    const restore = ini((text) =>
      text.replace('migrate = python3 -m pony.migrate', 'migrate = mkdir ../../tried 2>/dev/null || sleep 86397'),
    )
    await goesBack(/it did not end within/)
    restore()
    expect(processes((line) => line.includes('sleep 86397'))).toEqual([])
  },
  120_000,
)

itLong(
  'holds no request where it would not come to its end in time, as the trial has measured',
  async () => {
    const restore = ini((text) => text.replace('migrate = python3 -m pony.migrate', 'migrate = sleep 6'))
    const load = world.load({ connections: 4, pauseMs: 15 })
    await load.reached(20)
    const refused = world.run((from, to) => promote(from, to))
    await expect(refused).rejects.toMatchObject({
      undone: true,
      cause: expect.objectContaining({ code: 'window-too-long' }),
      next: expect.stringContaining('close=true'),
    })
    restore()
    await load.reached(load.report.requests + 20)
    expect((await load.stop()).failed).toEqual([])
    expect(journalText(world)).not.toMatch(/"step":"(arm|hold)"/)
    untouched()
  },
  120_000,
)
