import { existsSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { demote, promote } from '../../../src/targets/vps/promotion/index.ts'
import { hostIsBusy, scripts, until } from '../../faults/inject.ts'
import { audit, type Load, type LoadReport } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'

/** Whatever of the host's script dies at the steps that there are for reads, with reads and writes under way. */
let world: World
const ledger: LoadReport[] = []
/** So that what is promoted gets its share of the machine, too. */
const pauseMs = 15
beforeAll(async () => {
  world = await makeWorld({ app: 'read_only = PONY_READ_ONLY', initApps: true })
}, 180_000)
afterAll(() => world?.remove(), 180_000)
// Eighteen promotions on a machine that is busy with others.
vi.setConfig({ testTimeout: 300_000 })

const readsLink = () => readlinkSync(`${world.home}/.slipway/pony/sites/production/reads.sock`)

function leftovers(release: string): string[] {
  const at = (name: string, wanted: RegExp) =>
    readdirSync(`${world.release(release)}/${name}`).filter((each) => wanted.test(each))
  return [...at('run', /environment/), ...at('shared/db', /reads|fenced.*-(wal|shm)/)]
}

async function killAt(place: string, change: () => Promise<unknown>, before: () => readonly Load[]): Promise<unknown> {
  const changes = `${world.home}/.slipway/pony/changes`
  const known = new Set(existsSync(changes) ? readdirSync(changes) : [])
  const begun = () => readdirSync(changes).find((id) => !known.has(id) && existsSync(`${changes}/${id}/spec.json`))
  let early: unknown
  const result = change().catch((error: unknown) => {
    early = error
    return error
  })
  const stillAt = (what: () => boolean) => () => {
    if (early) throw early
    return what()
  }
  await until(
    stillAt(() => existsSync(changes) && begun() !== undefined),
    'it begins',
  )
  const folder = `${changes}/${begun()}`
  writeFileSync(`${folder}/pause`, place)
  await until(
    stillAt(() => existsSync(`${folder}/paused`)),
    `it stands still at ${place}`,
    120,
  )
  const [reads] = before()
  // Whatever stands still there, reads go on.
  if (reads) await reads.reached(reads.report.requests + 50)
  for (const pid of scripts(world, /window\.py (guard|forward)/)) process.kill(pid, 'SIGKILL')
  rmSync(`${folder}/paused`, { force: true })
  const ended = await result
  await until(() => !hostIsBusy(world), 'the host has made it good')
  return ended
}

async function underLoad(work: (loads: readonly Load[]) => Promise<unknown>): Promise<unknown> {
  const loads = [world.load({ connections: 4, writes: 0, pauseMs }), world.load({ connections: 3, writes: 1, pauseMs })]
  await Promise.all(loads.map((load) => load.reached(30)))
  const ended = await work(loads)
  await Promise.all(loads.map((load) => load.reached(load.report.requests + 30)))
  for (const load of loads) {
    const report = await load.stop()
    ledger.push(report)
    expect(report.failed).toEqual([])
  }
  return ended
}

const back = ['read-live', 'hold', 'stop-old', 'fence', 'read-snapshots', 'copy', 'gate'].flatMap((step) => [
  `${step} before`,
  `${step} after`,
])

describe("where the host's script dies in a promotion of an app that can only read", () => {
  it.each(back)('at %s, all goes back by itself and nothing is lost', async (place) => {
    const ended = await underLoad((loads) =>
      killAt(
        place,
        () => world.run((from, to) => promote(from, to)),
        () => loads,
      ),
    )
    // Where nobody held requests yet, nobody is there to make it good but the operator.
    if (!(ended as { undone?: boolean }).undone) {
      const result = await world.run((from, to) => promote(from, to, { undo: true }))
      expect(result?.result).toBe('undone')
    }
    for (const report of ledger) {
      expect(audit(report, marksIn(world, 'pony2026r1'))).toEqual({ missing: [], twice: [] })
    }
    expect([world.site(), readsLink(), leftovers('pony2026r1')]).toEqual([
      'pony2026r1/run/app-a.sock',
      'current.sock',
      [],
    ])
  })

  it.each(['flip after', 'end-reading before', 'end-reading after'])('at %s, it goes on', async (place) => {
    const ended = await underLoad((loads) =>
      killAt(
        place,
        () => world.run((from, to) => promote(from, to)),
        () => loads,
      ),
    )
    if (ended instanceof Error) await world.run((from, to) => promote(from, to, { resume: true }))
    for (const report of ledger) {
      expect(audit(report, marksIn(world, 'pony2026r2'))).toEqual({ missing: [], twice: [] })
    }
    expect([world.site(), readsLink(), leftovers('pony2026r1')]).toEqual([
      'pony2026r2/run/app-a.sock',
      'current.sock',
      [],
    ])
    await world.run((from, to) => demote(from, to))
    expect(world.site()).toBe('pony2026r1/run/app-a.sock')
  })
})

describe('on the way back', () => {
  it('writes are answered 503 where they are not to wait, and only writes', async () => {
    const reads = world.load({ connections: 4, writes: 0, pauseMs })
    const writes = world.load({
      connections: 4,
      writes: 1,
      pauseMs,
      allow: (status, headers) => status === 503 && headers['retry-after'] !== undefined,
    })
    await world.run((from, to) => promote(from, to))
    await Promise.all([reads.reached(50), writes.reached(30)])
    await world.run((from, to) => demote(from, to, { hold: false }))
    await Promise.all([reads.reached(reads.report.requests + 50), writes.reached(writes.report.requests + 30)])
    const [reading, writing] = [await reads.stop(), await writes.stop()]
    expect([...reading.failed, ...writing.failed]).toEqual([])
    expect(writing.allowed).toBeGreaterThan(0)
    expect(
      Object.keys(reading.releases)
        .map((name) => name.slice(0, 10))
        .sort(),
    ).toEqual(['pony2026r1', 'pony2026r2'])
    expect(audit(writing, marksIn(world, 'pony2026r1'))).toEqual({ missing: [], twice: [] })
    expect([readsLink(), leftovers('pony2026r2')]).toEqual(['current.sock', []])
    expect(existsSync(`${world.home}/.slipway/pony/sites/production/writes.off`)).toBe(false)
  })
})
