/**
 * One case: a promotion under load stands still at a step, something goes wrong, and it is resumed, or taken back. In
 * the end production answers, from one release or the other, and every acknowledged write is in it, once.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { demote, promote } from '../../src/targets/vps/promotion/index.ts'
import { ask } from '../servers/pony.ts'
import { type Ground, type GroundName, makeGround } from './ground.ts'
import { type FaultName, faults, hostIsBusy, journalText, until } from './inject.ts'
import { audit } from './load.ts'

export interface Case {
  /** `sockets` unless given. */
  ground?: GroundName
  step: string
  when: 'before' | 'after'
  fault: FaultName
  /** What the operator does then. */
  round: 'resume' | 'undo'
}

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
}

const before = [
  'stop-staging-workers',
  'detach-staging',
  'stop-staging',
  'end-staging-supervisord',
  'archive-staging',
  'settings',
  'rehearse',
  'trial',
]
const window = [
  'arm',
  'drain-workers',
  'hold',
  'stop-old',
  'fence',
  'copy',
  'migrate',
  'start-new',
  'gate',
  'flip',
  'let-go',
  'roles',
  'start-workers',
  'retire-old',
  'disarm',
]
const after = ['tidy', 'outside']

/** The steps of the window, wherever they are done. */
const windowSteps = [...window, 'close', 'let-in', 'fence-servers', 'copy-servers']

/** The steps of each kind of app; of the others, those that the first has not, or has otherwise. */
const steps: Record<GroundName, string[]> = {
  sockets: [...before, ...window, ...after],
  ports: ['close', 'hold', 'stop-old', 'let-in', 'copy', 'flip', 'roles', 'attach', 'end-relay'],
  postgres: [
    'rehearse-servers',
    'trial',
    'drop-rehearsal',
    'fence-servers',
    'copy-servers',
    'migrate',
    'flip',
    'keep-servers',
  ],
}

/** Every step, before and after its action, with every fault that can be there. */
export function allCases(): Case[] {
  const cases: Case[] = []
  for (const [ground, names] of Object.entries(steps) as [GroundName, string[]][]) {
    for (const step of names) {
      for (const when of ['before', 'after'] as const) {
        for (const fault of faults) {
          if (fault.window && !windowSteps.includes(step)) continue
          if (fault.name === 'kill-holder' && !isHeld(ground, step, when)) continue
          // The server's files are elsewhere.
          if (fault.name === 'disk-full' && ground === 'postgres') continue
          for (const round of ['resume', 'undo'] as const) cases.push({ ground, step, when, fault: fault.name, round })
        }
      }
    }
  }
  return cases
}

/** Whether requests wait there. */
function isHeld(ground: GroundName, step: string, when: 'before' | 'after'): boolean {
  // On ports from when the old app is gone until nothing comes to its port any more.
  if (ground === 'ports') return !['close', 'hold', 'stop-old', 'end-relay'].includes(step)
  if (['fence-servers', 'copy-servers'].includes(step)) return true
  const index = window.indexOf(step)
  return (step === 'hold' && when === 'after') || (index > window.indexOf('hold') && index <= window.indexOf('flip'))
}

/** The longest that requests may fail, where the fault itself ends what answers them. Seconds. */
const boundSeconds = 30

export async function runCase(tool: string, test: Case): Promise<CaseResult> {
  const began = Date.now()
  const fault = faults.find((each) => each.name === test.fault)
  if (!fault) throw new Error(`there is no fault ${test.fault}`)
  const world = await makeGround(test.ground ?? 'sockets', test.fault === 'disk-full' ? 120 : undefined)
  const load = world.load({ connections: 6 })
  let way = ''
  let problem: string | undefined
  /** What a fault keeps from working for as long as it is there counts from when it is mended. */
  let mended = 0
  try {
    await load.reached(100)
    way = await through(world, tool, test, () => {
      mended = Date.now()
    })
    await load.reached(load.report.requests + 50)
  } catch (error) {
    problem = (error as Error).message
    const failure = error as { detail?: string; state?: string }
    if (failure.detail) problem += ` | ${failure.detail}`
    if (failure.state) problem += ` | ${failure.state}`
  }
  const client = await load.stop()
  const times = client.failed.map((each) => each.at).filter((at) => at >= mended)
  const outage = times.length > 0 ? (Math.max(...times) - Math.min(...times)) / 1000 : 0
  try {
    problem ??= await verdict(world, client, world.refuses || (fault.hurts ?? false), outage)
  } catch (error) {
    problem = (error as Error).message
  }
  if (problem !== undefined && process.env['KEEP']) console.error(`kept: ${world.dir}\n${journalText(world)}`)
  else await world.remove()
  return {
    ...test,
    ok: problem === undefined,
    way,
    ...(problem === undefined ? {} : { problem }),
    failed: client.failed.length,
    outage,
    longestMs: client.longestMs,
    seconds: (Date.now() - began) / 1000,
  }
}

/** Promotes up to the step, does the fault, and lets the operator go on. How it went. */
async function through(world: Ground, tool: string, test: Case, onMended: () => void): Promise<string> {
  const fault = faults.find((each) => each.name === test.fault)
  const inWindow = windowSteps.includes(test.step)
  const child = spawn(process.execPath, [tool, world.dir, 'promote', ...(inWindow ? [] : [test.step, test.when])], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  child.stderr.on('data', (data) => {
    errors += data
  })
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  const isPaused = () => (inWindow ? pausedFile(world) !== undefined : output.includes('paused'))
  if (inWindow) {
    await until(() => changeFolder(world) !== undefined || child.exitCode !== null, 'the promotion begins')
    writeFileSync(`${changeFolder(world)}/pause`, `${test.step} ${test.when}`)
  }
  await until(() => isPaused() || child.exitCode !== null, `it stands still at ${test.step}`, 120)
  if (!isPaused()) throw new Error(`it ended before ${test.step}: ${errors}`)
  await fault?.inject(world, { kill: () => child.kill('SIGKILL') })
  const paused = pausedFile(world)
  if (paused) rmSync(paused, { force: true })
  writeFileSync(`${world.dir}/go`, '')
  await Promise.race([ended, until(() => false, 'the tool ends', 180).catch(() => child.kill('SIGKILL'))])
  await until(() => !hostIsBusy(world), 'the host has done what it does by itself', 120)
  if (fault?.mend) {
    await fault.mend(world)
    onMended()
  }
  return operatorGoesOn(world, test)
}

async function operatorGoesOn(world: Ground, test: Case): Promise<string> {
  const ended = /"entry":"end","result":"(\w+)"\}\n$/.exec(journalText(world))?.[1]
  if (test.round === 'resume') {
    if (ended === 'done') return 'went on by itself'
    if (ended === 'undone') {
      await world.run((from, to) => promote(from, to))
      return 'went back by itself; promoted again'
    }
    await world.run((from, to) => promote(from, to, { resume: true }))
    return 'resumed'
  }
  if (ended === 'undone') return 'went back by itself'
  if (ended === 'done') {
    await world.run((from, to) => demote(from, to))
    return 'went on by itself; demoted'
  }
  try {
    await world.run((from, to) => promote(from, to, { undo: true }))
    return 'undone'
  } catch (error) {
    if ((error as { code?: string }).code !== 'past-return') throw error
    await world.run((from, to) => promote(from, to, { resume: true }))
    await world.run((from, to) => demote(from, to))
    return 'past its return: resumed, demoted'
  }
}

async function verdict(
  world: Ground,
  client: Parameters<typeof audit>[0],
  mayFail: boolean,
  outage: number,
): Promise<string | undefined> {
  const production = world.roles()['production'] as string
  const answer = await ask({ port: world.sandbox.httpPort }, { path: '/up', headers: { host: world.domain } })
  if (answer.status !== 200) return `production answers ${answer.status}`
  if (!String(answer.headers['x-release']).startsWith(`${production}/`))
    return `${answer.headers['x-release']} answers, and ${production} is production`
  const { missing, twice } = audit(client, world.marks())
  if (missing.length > 0) return `${missing.length} acknowledged writes are missing: ${missing.slice(0, 3)}`
  if (twice.length > 0) return `${twice.length} writes are there twice: ${twice.slice(0, 3)}`
  const jobs = await world.jobs(client.acknowledged)
  if (jobs !== undefined) return jobs
  if (!mayFail && client.failed.length > 0) return `${client.failed.length} requests failed: ${client.failed[0]?.what}`
  if (outage > boundSeconds) return `requests failed over ${outage} s`
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
