import { execFileSync } from 'node:child_process'
import { readdirSync, readlinkSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { hostIsBusy, journalText, scripts, standStill, until } from '../../faults/inject.ts'
import { audit } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'
import { ask } from '../../servers/pony.ts'

/** Those that take their time: `npm run test:long`. */
const itLong = it.skipIf(!process.env['SLIPWAY_TEST_LONG'])

/** An app with a read-only mode. Each test goes on from where the last one left it. */
let world: World
beforeAll(async () => {
  world = await makeWorld({ app: 'read_only = PONY_READ_ONLY', initApps: true })
}, 180_000)
afterAll(() => world?.remove())

const readsLink = () => readlinkSync(`${world.home}/.slipway/pony/sites/production/reads.sock`)
const filesOf = (release: string) => readdirSync(`${world.release(release)}/shared/db`).sort()

/** Whatever a promotion needs for reads, and nobody else. */
function leftovers(release: string): string[] {
  const run = readdirSync(`${world.release(release)}/run`).filter((name) => name.endsWith('.environment'))
  return [...run, ...filesOf(release).filter((name) => name.includes('.reads'))]
}

const page = (path: string, method = 'GET', more: Record<string, string> = {}) =>
  ask({ port: world.sandbox.httpPort }, { path, method, headers: { host: world.domain, ...more } })

const bothLoads = () => {
  const loads = [world.load({ connections: 6, writes: 0 }), world.load({ connections: 4, writes: 1 })] as const
  return { reads: loads[0], writes: loads[1] }
}

describe('a promotion of an app that can only read', () => {
  itLong(
    'goes back by itself in the window: reads and writes go to the old app again, none failed, none is lost',
    {
      timeout: 120_000,
    },
    async () => {
      const { reads, writes } = bothLoads()
      await Promise.all([reads.reached(100), writes.reached(30)])
      const failing = world.run((from, to) => promote(from, to)).catch((error: unknown) => error)
      await standStill(world, 'copy before')
      for (const pid of scripts(world, /window\.py (guard|forward)/)) process.kill(pid, 'SIGKILL')
      expect(await failing).toMatchObject({ undone: true })
      await until(() => !hostIsBusy(world), 'the host has gone back')
      expect(journalText(world)).toContain('the host goes back by itself')
      await Promise.all([reads.reached(reads.report.requests + 100), writes.reached(writes.report.requests + 30)])
      const [reading, writing] = [await reads.stop(), await writes.stop()]
      expect([...reading.failed, ...writing.failed]).toEqual([])
      expect(Object.keys(reading.releases)).toEqual([expect.stringMatching(/^pony2026r1\//)])
      expect(audit(writing, marksIn(world, 'pony2026r1'))).toEqual({ missing: [], twice: [] })
      expect([readsLink(), leftovers('pony2026r1')]).toEqual(['current.sock', []])
      expect(filesOf('pony2026r1').filter((name) => name.includes('fenced'))).toEqual([])
    },
  )

  it('has reads answered by the old app throughout, while writes wait, and loses none', {
    timeout: 120_000,
  }, async () => {
    const { reads, writes } = bothLoads()
    await Promise.all([reads.reached(100), writes.reached(30)])
    const promoting = world.run((from, to) => promote(from, to))
    const folder = await standStill(world, 'copy after')
    const waiting = writes.report.requests
    const answered = reads.report.requests
    // With all that was acknowledged before, and whoever is there.
    const riders = JSON.parse((await page('/riders.json')).body) as { name: string }[]
    expect(
      audit(
        writes.report,
        riders.map((rider) => rider.name),
      ).missing,
    ).toEqual([])
    expect((await page('/up', 'HEAD')).headers['x-release']).toMatch(/^pony2026r1\//)
    // What only begins like a read.
    const upgraded = page('/', 'GET', { connection: 'upgrade', upgrade: 'websocket' })
    await reads.reached(answered + 300)
    expect(writes.report.requests).toBe(waiting)
    // Where they are read, nobody can write, not even a cron job that belongs to root.
    const file = `${world.release('pony2026r1')}/shared/db/pony.sqlite`
    const stray = () => execFileSync('sqlite3', [file, "UPDATE settings SET value = 'stray'"], { stdio: 'pipe' })
    expect(stray).toThrow(/readonly database/)
    rmSync(`${folder}/paused`)
    const report = await promoting
    expect((await upgraded).headers['x-release']).toMatch(/^pony2026r2\//)
    await Promise.all([reads.reached(reads.report.requests + 100), writes.reached(writes.report.requests + 30)])
    const [reading, writing] = [await reads.stop(), await writes.stop()]
    expect([...reading.failed, ...writing.failed]).toEqual([])
    expect(reading.longestMs).toBeLessThan(report?.windowMs ?? 0)
    expect(audit(writing, marksIn(world, 'pony2026r2'))).toEqual({ missing: [], twice: [] })
    expect([readsLink(), leftovers('pony2026r1'), world.site()]).toEqual([
      'current.sock',
      [],
      'pony2026r2/run/app-a.sock',
    ])
    expect((await page('/')).headers['x-release']).toMatch(/^pony2026r2\//)
  })
})
