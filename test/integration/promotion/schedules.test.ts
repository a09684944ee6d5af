/** What can come in an unlucky order: late commands, torn lines, two operators at once, commands of a script that was killed. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { decodeEntries, encodeEntry } from '../../../src/engine/index.ts'
import { AbortedError } from '../../../src/events/index.ts'
import { promote, promotions } from '../../../src/targets/vps/promotion/index.ts'
import { vpsStore } from '../../../src/targets/vps/store/index.ts'
import { type Ground, makeGround, statusOf } from '../../faults/ground.ts'
import { faults, freeze, hostIsBusy, journalText, processes, scripts, until } from '../../faults/inject.ts'
import { around, audit } from '../../faults/load.ts'

// Real hosts on a machine that is busy with others.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 })
/** In `npm test` what is cheap; the rest with `npm run test:long`. */
const itLong = it.skipIf(!process.env['SLIPWAY_TEST_LONG'])

let world: Ground
beforeAll(async () => {
  world = await makeGround('sockets')
})
beforeEach(() => world.again())
afterAll(() => world?.remove())

const changes = () => `${world.home}/.slipway/pony/changes`
const begun = () =>
  (existsSync(changes()) ? readdirSync(changes()) : []).filter((id) => existsSync(`${changes()}/${id}/spec.json`))
const folder = () => `${changes()}/${begun()[0]}`

/** Has the change stand still at a step, on the host; resolves with what lets it go on. */
async function standStill(place: string): Promise<() => void> {
  await until(() => begun().length > 0, 'it begins')
  writeFileSync(`${folder()}/pause.new`, place)
  renameSync(`${folder()}/pause.new`, `${folder()}/pause`)
  await until(() => existsSync(`${folder()}/paused`), `it stands still at ${place}`)
  return () => rmSync(`${folder()}/paused`, { force: true })
}

/** A promotion that its operator leaves at a step, on the way there on the host. */
async function leftAt(place: string): Promise<{ goOn: () => void; left: Promise<unknown> }> {
  const controller = new AbortController()
  const left = world
    .run((from, to) => promote(from, to), { signal: controller.signal })
    .catch((error: unknown) => error)
  const goOn = await standStill(place)
  controller.abort(new AbortedError('Ctrl-C'))
  return { goOn, left }
}

/** An operator, for what another run left under way. */
const isWaiting = (mark: number) =>
  world.events.slice(mark).some((event) => event.type === 'note' && event.text.includes('is still at a step'))

async function answeredBy(release: string): Promise<void> {
  expect(await statusOf(world.sandbox.httpPort, world.domain)).toBe(200)
  expect(world.roles()['production']).toBe(release)
}

/** Under load: no request fails, and every acknowledged write is in what is production in the end. */
async function underLoad(work: () => Promise<void>): Promise<void> {
  const load = world.load({ connections: 4, pauseMs: 15 })
  const { client } = await around(load, 20, work)
  expect(client.failed).toEqual([])
  expect(audit(client, world.marks())).toEqual({ missing: [], twice: [] })
}

it('an operator whose machine slept while its lock was broken is not let in: its step on the host is waited for, and later ones are refused', async () => {
  const first = world.run((from, to) => promote(from, to)).catch((error: unknown) => error)
  const goOn = await standStill('archive-staging before')
  const by = { run: 'other', user: 'bob', machine: 'elsewhere', command: 'tasks unlock' }
  await world.run(async (_, to) => {
    for (const scope of ['production', 'staging']) await vpsStore(to.home(), 'pony').breakLock(scope, by)
  })
  const mark = world.events.length
  const undoing = world.run((from, to) => promote(from, to, { undo: true }))
  await until(() => isWaiting(mark), 'the other one waits')
  goOn()
  expect((await undoing)?.result).toBe('undone')
  expect(await first).toMatchObject({ undone: false })
  expect(await statusOf(world.sandbox.httpPort, `staging.${world.domain}`)).toBe(200)
  await answeredBy('pony2026r1')
  const data = `${world.home}/webapps/pony2026r2/shared/db/pony.sqlite`
  expect(existsSync(data)).toBe(true)

  // What the sleeper's connection still held.
  const late = (verb: string) => {
    const script = `echo '{}' | python3 ${folder()}/window.py ${verb} archive-staging; echo "status $?"`
    return execFileSync('ssh', ['-F', world.sandbox.sshConfigFile, 'localhost', `{ ${script}; } 2>&1`], {
      encoding: 'utf8',
    })
  }
  expect(late('do')).toMatch(/another run has gone on, or back\nstatus 1\n$/)
  expect(late('undo')).toMatch(/another run has gone on, or back\nstatus 1\n$/)
  expect(existsSync(data)).toBe(true)
})

it('two promotions at once: one is done, the other is refused, and leaves nothing', async () => {
  await underLoad(async () => {
    const settled = await Promise.allSettled([1, 2].map(() => world.run((from, to) => promote(from, to))))
    const refused = settled.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
    expect(refused).toHaveLength(1)
    expect(refused[0].code).toMatch(/^(locked|unfinished-change|facts-changed)$/)
  })
  expect(begun()).toHaveLength(1)
  await answeredBy('pony2026r2')
})

describe('after a script was killed', () => {
  itLong('a command that it had begun is ended before the host goes back', async () => {
    await underLoad(async () => {
      const promotion = world.run((from, to) => promote(from, to)).catch((error: unknown) => error)
      const goOn = await standStill('migrate before')
      const migrating = () => processes((line) => line.includes('pony.migrate') && line.includes('python3 -m'))
      goOn()
      let frozen: number[] = []
      await until(() => {
        // As if it had not come to its first statement yet.
        frozen = migrating()
        if (frozen.length > 0) freeze(frozen)
        return frozen.length > 0
      }, 'the migration runs')
      await faults.find((each) => each.name === 'kill-script-and-guard')?.inject(world, { kill() {} })
      await promotion
      await until(() => !hostIsBusy(world), 'the host has gone back')
      expect(migrating()).toEqual([])
      expect(journalText(world)).toContain('"result":"undone"')
    })
    await answeredBy('pony2026r1')
  })

  itLong('a line that it had half written is none, and it is gone on from the line before', async () => {
    await underLoad(async () => {
      const promotion = world
        .run((from, to) => promote(from, to, { onFailure: 'stop' }))
        .catch((error: unknown) => error)
      await standStill('copy after')
      const waiting = freeze(scripts(world, /window\.py guard|hold\.py/))
      const outcome = {
        entry: 'outcome',
        at: new Date().toISOString(),
        step: 'copy',
        direction: 'do',
        ok: true,
        durationMs: 1,
      }
      tear(encodeEntry(outcome as never))
      await faults.find((each) => each.name === 'kill-script-and-guard')?.inject(world, { kill() {} })
      waiting()
      await promotion
      await until(() => !hostIsBusy(world), 'the host has gone back')
      await answeredBy('pony2026r1')
      expect((await world.run((from, to) => promote(from, to, { resume: true })))?.result).toBe('done')
    })
    await answeredBy('pony2026r2')
  })
})

/** Half of a line at the end of the journal. */
function tear(line: string): void {
  const journals = `${world.home}/.slipway/pony/journals`
  const file = `${journals}/${readdirSync(journals).find((name) => name.endsWith('.journal'))}`
  const content = readFileSync(file)
  const end = content.indexOf(0)
  content.write(line.slice(0, line.length / 2), end)
  writeFileSync(file, content)
  expect(decodeEntries(content.toString().replaceAll('\0', '')).at(-1)).toMatchObject({ entry: 'intent', step: 'copy' })
}

itLong('an undo while another resumes is refused, and told who that is', async () => {
  const { goOn, left } = await leftAt('rehearse before')
  goOn()
  expect(await left).toMatchObject({ exitCode: 130 })
  await until(() => scripts(world, /window\.py do/).length === 0, 'its step has ended')
  await underLoad(async () => {
    const resuming = world.run((from, to) => promote(from, to, { resume: true }))
    const further = await standStill('copy after')
    await expect(world.run((from, to) => promote(from, to, { undo: true }))).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringMatching(/locked by \S+ on \S+ \(resume promote pony2026r2\)/),
    })
    further()
    expect((await resuming)?.result).toBe('done')
  })
  await answeredBy('pony2026r2')
})

itLong('a resume while a step of the run before is still under way waits for it', async () => {
  const first = world.run((from, to) => promote(from, to)).catch((error: unknown) => error)
  const goOn = await standStill('rehearse before')
  await faults.find((each) => each.name === 'cut-connection')?.inject(world, { kill() {} })
  expect(await first).toMatchObject({ undone: false })
  await underLoad(async () => {
    const mark = world.events.length
    const resuming = world.run((from, to) => promote(from, to, { resume: true }))
    await until(() => isWaiting(mark), 'it waits')
    goOn()
    expect((await resuming)?.result).toBe('done')
  })
  await answeredBy('pony2026r2')
})

itLong('a clock that was set back changes nothing but what the times say', async () => {
  // Nobody waits by this clock, neither here nor on the host.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2025-01-01T00:00:00Z') })
  try {
    await underLoad(async () => {
      expect((await world.run((from, to) => promote(from, to)))?.result).toBe('done')
    })
  } finally {
    vi.useRealTimers()
  }
  await answeredBy('pony2026r2')
  const [report] = await world.run((_, to) => promotions(to))
  expect(report).toMatchObject({ result: 'done', begun: expect.stringMatching(/^2025-01-01/) })
  expect(report?.windowMs).toBeGreaterThan(0)
  expect(report?.windowMs).toBeLessThan(60_000)
})

it.skipIf(!process.env['SLIPWAY_TEST_LONG'] || process.getuid?.() !== 0)(
  'a disk that is full refuses a promotion before it begins, and nothing is changed',
  async () => {
    await world.again(120)
    const full = faults.find((each) => each.name === 'disk-full')
    await full?.inject(world, { kill() {} })
    await expect(world.run((from, to) => promote(from, to))).rejects.toBeInstanceOf(Error)
    await full?.mend?.(world)
    expect(journalText(world)).toBe('')
    expect(world.roles()).toEqual({ production: 'pony2026r1', staging: 'pony2026r2' })
    expect((await world.run((from, to) => promote(from, to)))?.result).toBe('done')
    await answeredBy('pony2026r2')
  },
)
