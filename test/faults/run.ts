/**
 * `npm run test:faults`: all steps × all faults, each resumed and taken back, the most dangerous first, and a table at
 * the end. What became of each case is kept in a file as soon as it is known.
 *   --only hold,copy           steps   --grounds sockets,reads,ports,postgres,mysql,handover,elsewhere
 *   --faults kill-app          --rounds resume   --when during   --sample 40
 *   --minutes 30               begins no case after that
 *   --shard 2/3                the second of three processes that share the cases between them, on one machine or more
 *   --continue                 leaves out what has passed with this very code; with --any-code, with whatever code
 *   --results FILE             .slipway/faults.jsonl unless given   --table prints what is in it, and runs nothing
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { bundleTool } from './bundle.ts'
import { type CaseResult, Missed, runCase } from './case.ts'
import { allCases, byDanger, type Case, type GroundName, keyOf } from './cases.ts'
import { type Ground, makeGround } from './ground.ts'
import { codeVersion, countsOf, readResults, record, tableOf } from './results.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    steps: { type: 'string' },
    grounds: { type: 'string' },
    faults: { type: 'string' },
    rounds: { type: 'string' },
    when: { type: 'string' },
    sample: { type: 'string' },
    minutes: { type: 'string' },
    shard: { type: 'string' },
    continue: { type: 'boolean', default: false },
    'any-code': { type: 'boolean', default: false },
    results: { type: 'string' },
    table: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
})
const root = fileURLToPath(new URL('../..', import.meta.url))
const file = resolve(values.results ?? `${root}/.slipway/faults.jsonl`)
const version = codeVersion(root)
const within = (given: string | undefined, value: string) => given === undefined || given.split(',').includes(value)
const chosen = allCases().filter(
  (each) =>
    within(values.only ?? values.steps, each.step) &&
    within(values.grounds, each.ground) &&
    within(values.faults, each.fault) &&
    within(values.rounds, each.round) &&
    within(values.when, each.when),
)
// A sample is spread over all cases, the same each time.
const every = Math.max(1, chosen.length / Number(values.sample ?? chosen.length))
const sampled = byDanger(chosen.filter((_, index) => Math.floor(index / every) !== Math.floor((index - 1) / every)))
const [shard = 1, shards = 1] = (values.shard ?? '1/1').split('/').map(Number)
const pairOf = (each: Case) => keyOf({ ...each, round: 'resume' })
const pairs = [...new Set(sampled.map(pairOf))]
// Both rounds of a case are with one process: often one run is enough for them.
const cases = sampled.filter((each) => pairs.indexOf(pairOf(each)) % shards === shard - 1)
let queue = values.table ? [] : leftOf(cases)
const wanted = queue.length
const end = values.minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + Number(values.minutes) * 60_000
// The case under way is brought to its end, so that nothing is left running.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => (queue = []))

const grounds = new Map<GroundName, Ground>()
async function groundOf(name: GroundName): Promise<Ground> {
  const there = grounds.get(name) ?? (await makeGround(name))
  grounds.set(name, there)
  return there
}

let ran = 0
let bad = 0
if (wanted > 0) {
  const tool = await bundleTool()
  for (let test = next(); test && Date.now() < end; test = next()) {
    const asked = test
    const nothing = { way: '', failed: 0, outage: 0, longestMs: 0, seconds: 0, times: {} }
    const found: CaseResult[] = await groundOf(asked.ground)
      .then((world) => runCase(tool, world, asked))
      .catch((error: Error) =>
        error instanceof Missed ? [] : [{ ...asked, ...nothing, ok: false, problem: error.message }],
      )
    if (found.length === 0)
      console.log(
        `miss ${asked.fault} ${asked.when} ${asked.step} (${asked.ground}), ${asked.round}: it is over too soon here`,
      )
    for (const result of found) {
      record(file, { ...result, at: new Date().toISOString(), version })
      queue = queue.filter((each) => keyOf(each) !== keyOf(result))
      ran += 1
      if (!result.ok) {
        bad += 1
        keepTraces(result)
      }
      const { ground, step, when, fault, round, ok, way, problem, failed, outage, seconds } = result
      console.log(
        `${ok ? 'ok  ' : 'FAIL'} ${ran}/${wanted} ${fault} ${when} ${step} (${ground}), ${round}: ${way}${problem ? ` | ${problem}` : ''} | ${failed} failed over ${outage.toFixed(1)} s | ${seconds.toFixed(1)} s`,
      )
    }
  }
  for (const world of grounds.values()) await world.remove()
  rmSync(tool, { force: true })
}

const results = readResults(file)
const table = tableOf(cases, results)
console.log(`\n${table}\n`)
if (values.out) writeFileSync(values.out, `${table}\n`)
console.log(`${ran} of ${wanted} ran now, ${bad} failed. ${countsOf(cases, results)}`)
process.exit(bad > 0 ? 1 : 0)

/** With --continue, those that have not passed yet, by this process or another. */
function leftOf(of: readonly Case[]): Case[] {
  if (!values.continue) return [...of]
  const known = readResults(file)
  return of.filter((each) => {
    const last = known.get(keyOf(each))
    return !(last?.ok && (values['any-code'] || last.version === version))
  })
}

/** Of a case's two rounds the one that may come past the other first. */
function next(): Case | undefined {
  queue = leftOf(queue)
  const [first] = queue
  const at = first ? queue.findIndex((each) => each.round === 'undo' && pairOf(each) === pairOf(first)) : -1
  return queue.splice(Math.max(0, at), 1)[0]
}

/** What the hosts of a failed case know of it, beside the results: journals, logs, scripts. A folder for each host. */
function keepTraces(result: CaseResult): void {
  const to = `${file}.failed/${keyOf(result).replaceAll(' ', '-')}`
  rmSync(to, { recursive: true, force: true })
  for (const [index, home] of (grounds.get(result.ground)?.homes ?? []).entries()) {
    if (!existsSync(home)) continue
    mkdirSync(`${to}/${index}`, { recursive: true })
    const wanted = ['/.slipway', '/.slipway/***', '/webapps', '/webapps/*', '/webapps/*/logs', '/webapps/*/logs/***']
    const kept = [...wanted.map((each) => `--include=${each}`), '--exclude=*']
    execFileSync('rsync', ['-a', ...kept, `${home}/`, `${to}/${index}`])
  }
}
