/**
 * One case: a promotion under load stands still at a step, something goes wrong, and it is resumed, or taken back. In
 * the end production answers, from one release or the other, and every acknowledged write is in it, once.
 *
 * Often the two rounds of a case are two ends of one road: a change that went on by itself is what the first asks for,
 * and the second demotes it. Then both are judged in one run, each with a load and a ledger to itself.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { demote, promote } from '../../src/targets/vps/promotion/index.ts'
import { workersOf } from '../../src/targets/vps/workers.ts'
import { ask } from '../servers/pony.ts'
import { type Case, isInWindow, midstOf } from './cases.ts'
import { type Ground, statusOf } from './ground.ts'
import { faults, freeze, hostIsBusy, journalText, programs, scripts, until } from './inject.ts'
import { audit, type LoadReport } from './load.ts'

export interface CaseResult extends Case {
  ok: boolean
  /** How it came to its end: `done`, `went back; promoted again`, … */
  way: string
  problem?: string
  failed: number
  /** Seconds from the first failed request to the last; where the fault is mended, of those after that. */
  outage: number
  longestMs: number
  seconds: number
  /** Seconds by part of the case. */
  times: Record<string, number>
}

/** The longest that requests may fail, where the fault itself ends what answers them. Seconds. */
const boundSeconds = 30

/** The step was over before its midst was come to: nothing was tried. */
export class Missed extends Error {}

/** What became of the case, and of its other round, where the same run comes past what that asks for. */
export async function runCase(tool: string, world: Ground, test: Case): Promise<CaseResult[]> {
  for (let share = 1; ; share /= 2) {
    try {
      return await once(tool, world, test, share)
    } catch (error) {
      // On a machine that is faster than the one that it was measured on: earlier, then.
      if (!(error instanceof Missed) || share < 0.3) throw error
    }
  }
}

async function once(tool: string, world: Ground, test: Case, share: number): Promise<CaseResult[]> {
  const fault = faults.find((each) => each.name === test.fault)
  if (!fault) throw new Error(`there is no fault ${test.fault}`)
  const prepared = Date.now()
  await world.again(test.fault === 'disk-full' ? 120 : undefined)
  const times: Record<string, number> = { host: (Date.now() - prepared) / 1000 }
  const schema = world.schema()
  const hurts = world.refuses || (fault.hurts ?? false)
  const results: CaseResult[] = []
  const acknowledged: string[] = []
  /** With a load of its own from the first one's preparation, or the last one's end. */
  async function judge(begun: number, come: (onMended: () => void) => Promise<Stage>): Promise<void> {
    let stage: Stage = { round: test.round, way: '' }
    let problem: string | undefined
    /** What a fault keeps from working for as long as it is there counts from when it is mended. */
    let mended = 0
    const load = world.load({ connections: 6, pauseMs: 15 })
    try {
      await load.reached(30)
      stage = await come(() => {
        mended = Date.now()
      })
      await stage.act?.()
      // Without their daemon nobody starts the workers again that wrote a line, but whoever operates them.
      if (test.fault === 'kill-supervisord' && world.workers) await world.run((_, to) => workersOf(to).start())
      await load.reached(load.report.requests + 30)
    } catch (error) {
      if (error instanceof Missed) {
        await load.stop()
        throw error
      }
      problem = told(error as Error)
    }
    const client = await load.stop()
    acknowledged.push(...client.acknowledged)
    const failedAt = client.failed.map((each) => each.at).filter((at) => at >= mended)
    const outage = failedAt.length > 0 ? (Math.max(...failedAt) - Math.min(...failedAt)) / 1000 : 0
    const { round, way } = stage
    try {
      problem ??= await verdict(world, { ...client, acknowledged }, hurts, outage, { ...test, round })
      const now = world.schema()
      // The old release's code knows no other.
      if (round === 'undo' && now.join() !== schema.join())
        problem ??= `production's schema is not what it was: ${now.filter((each) => !schema.includes(each))} were applied`
    } catch (error) {
      problem = (error as Error).message
    }
    results.push({
      ...test,
      round,
      ok: problem === undefined,
      way,
      ...(problem === undefined ? {} : { problem }),
      failed: client.failed.length,
      outage,
      longestMs: client.longestMs,
      seconds: (Date.now() - begun) / 1000,
      times: results.length === 0 ? times : {},
    })
  }

  let others: Stage[] = []
  await judge(prepared, async (onMended) => {
    const begun = Date.now()
    await through(world, tool, test, share, onMended)
    times['to the fault and after it'] = (Date.now() - begun) / 1000
    const [first, ...rest] = await roundsAhead(world, test)
    others = rest
    return first
  })
  for (const stage of others) if (results.at(-1)?.ok) await judge(Date.now(), async () => stage)
  return results
}

function told(error: Error & { detail?: string; state?: string }): string {
  return [error.message, error.detail, error.state].filter(Boolean).join(' | ')
}

/** Promotes up to the step, does the fault, and waits until what goes on by itself has come to its end. */
async function through(world: Ground, tool: string, test: Case, share: number, onMended: () => void): Promise<void> {
  const fault = faults.find((each) => each.name === test.fault)
  const inWindow = isInWindow(test.step)
  const pausesTool = !inWindow && test.when !== 'during'
  const child = spawn(
    process.execPath,
    [tool, world.dir, world.sandbox.sshConfigFile, 'promote', ...(pausesTool ? [test.step, test.when] : [])],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let output = ''
  let errors = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  child.stderr.on('data', (data) => {
    errors += data
  })
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  const stands = async (isThere: () => boolean) => {
    await until(() => isThere() || hasEnded(), `it stands still at ${test.step}`, 120)
    if (!isThere()) throw new Error(`it ended before ${test.step}: ${errors}`)
  }
  let goOn = () => {}
  try {
    if (inWindow) {
      await until(() => changeFolder(world) !== undefined || hasEnded(), 'the promotion begins')
      const pause = `${changeFolder(world)}/pause`
      writeFileSync(`${pause}.new`, `${test.step} ${test.when === 'during' ? 'before' : test.when}`)
      renameSync(`${pause}.new`, pause)
      await stands(() => pausedFile(world) !== undefined)
    } else if (pausesTool) {
      await stands(() => output.includes('paused'))
    }
    if (test.when === 'during') {
      const pattern = inWindow ? /window\.py (forward|back|recover)/ : new RegExp(`window\\.py do ${test.step}$`)
      // Looked for while it stands still: looking takes longer than some steps.
      let found = scripts(world, pattern)
      if (!inWindow) {
        await stands(() => {
          found = scripts(world, pattern)
          return found.length > 0
        })
      }
      const paused = pausedFile(world)
      if (paused) rmSync(paused, { force: true })
      await delay((midstOf(test.step) ?? 0) * share)
      goOn = freeze(found)
      if (isOver(world, test.step)) throw new Missed(`${test.step} was over`)
    }
    await fault?.inject(world, { kill: () => child.kill('SIGKILL') })
    goOn()
  } catch (error) {
    child.kill('SIGKILL')
    goOn()
    throw error
  }
  const paused = pausedFile(world)
  if (paused) rmSync(paused, { force: true })
  writeFileSync(`${world.dir}/go`, '')
  await Promise.race([ended, until(() => false, 'the tool ends', 180).catch(() => child.kill('SIGKILL'))])
  await until(() => !hostIsBusy(world), 'the host has done what it does by itself', 120)
  if (fault?.mend) {
    await fault.mend(world)
    onMended()
  }
}

/** Whether the journal has the step's outcome. */
const isOver = (world: Ground, step: string): boolean =>
  journalText(world)
    .split('\n')
    .some((line) => line.includes(`"entry":"outcome","step":"${step}"`))

/** What an operator does in a round, and how the change came to what that asks for. */
interface Stage {
  round: Case['round']
  way: string
  act?(): Promise<unknown>
}

/** The rounds that can be judged from where the change stands, in the order in which it comes past them. */
async function roundsAhead(world: Ground, test: Case): Promise<[Stage, ...Stage[]]> {
  const demoted = () => world.run((from, to) => demote(from, to))
  const resumed = () => world.run((from, to) => promote(from, to, { resume: true }))
  const ended = endOf(world)
  if (ended === 'done')
    return [
      { round: 'resume', way: 'went on by itself' },
      { round: 'undo', way: 'went on by itself; demoted', act: demoted },
    ]
  if (ended === 'undone')
    return [
      { round: 'undo', way: 'went back by itself' },
      {
        round: 'resume',
        way: 'went back by itself; promoted again',
        act: () => world.run((from, to) => promote(from, to)),
      },
    ]
  if (test.round === 'resume') return [{ round: 'resume', way: 'resumed', act: resumed }]
  try {
    await world.run((from, to) => promote(from, to, { undo: true }))
    return [{ round: 'undo', way: 'undone' }]
  } catch (error) {
    if ((error as { code?: string }).code !== 'past-return') throw error
    return [
      { round: 'resume', way: 'past its return: undo refused, resumed', act: resumed },
      { round: 'undo', way: 'past its return: resumed, demoted', act: demoted },
    ]
  }
}

const endOf = (world: Ground): string | undefined => /"entry":"end","result":"(\w+)"\}\n$/.exec(journalText(world))?.[1]

async function verdict(
  world: Ground,
  client: LoadReport,
  mayFail: boolean,
  outage: number,
  test: Case,
): Promise<string | undefined> {
  const production = world.roles()['production'] as string
  const asked = () => ask({ port: world.sandbox.httpPort }, { path: '/up', headers: { host: world.domain } })
  let answer = await asked()
  // An app that was killed a moment ago is started again by its daemon.
  const end = Date.now() + (mayFail ? boundSeconds * 1000 : 0)
  for (; answer.status !== 200 && Date.now() < end; await delay(50)) answer = await asked()
  if (answer.status !== 200) return `production answers ${answer.status}`
  if (!String(answer.headers['x-release']).startsWith(`${production}/`))
    return `${answer.headers['x-release']} answers, and ${production} is production`
  const wanted = test.round === 'resume' ? world.releases.staging : world.releases.production
  if (production !== wanted) return `${production} is production, and ${wanted} should be`
  const { missing, twice } = audit(client, world.marks())
  if (missing.length > 0) return `${missing.length} acknowledged writes are missing: ${missing.slice(0, 3)}`
  if (twice.length > 0) return `${twice.length} writes are there twice: ${twice.slice(0, 3)}`
  const jobs = await world.jobs(client.acknowledged)
  if (jobs !== undefined) return jobs
  if (!mayFail && client.failed.length > 0) return `${client.failed.length} requests failed: ${client.failed[0]?.what}`
  if (outage > boundSeconds) return `requests failed over ${outage} s`
  return remains(world, test, mayFail)
}

/** What a change that has ended must not leave behind, and what has to be as before where it was taken back. */
async function remains(world: Ground, test: Case, mayFail: boolean): Promise<string | undefined> {
  const end = endOf(world)
  if (end === undefined) return 'the journal has no end'
  if (world.crontab().includes('slipway promotion')) return 'a line is left in the crontab'
  if (scripts(world, /window\.py|hold\.py/).length > 0) return 'scripts of the change are left on the host'
  // Without its daemon nobody starts or stops programs there: that one has to be started by the operator.
  if (test.fault === 'kill-supervisord') return undefined
  const { production, staging } = world.releases
  if (end === 'undone') {
    const roles = JSON.stringify(world.roles())
    if (roles !== JSON.stringify({ production, staging })) return `the roles are ${roles}`
    const status = await statusOf(world.sandbox.httpPort, `staging.${world.domain}`)
    if (status !== 200) return `staging answers ${status}`
  }
  const now = world.roles()['production'] as string
  const works = () => programs(world).some(({ name }) => name.startsWith(`${now}:${world.workers}`))
  // One that could not start, for a disk that was full, is tried again by its daemon, a few seconds later each time.
  if (world.workers && !works()) {
    if (!mayFail) return `the workers of ${now} do not run`
    await until(works, `the workers of ${now} run`, 20)
  }
  return undefined
}

function changeFolder(world: Ground): string | undefined {
  const changes = `${world.home}/.slipway/${world.app}/changes`
  const name = existsSync(changes) ? readdirSync(changes)[0] : undefined
  return name && existsSync(`${changes}/${name}/spec.json`) ? `${changes}/${name}` : undefined
}

function pausedFile(world: Ground): string | undefined {
  const file = `${changeFolder(world)}/paused`
  return existsSync(file) ? file : undefined
}
