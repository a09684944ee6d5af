/**
 * `npm run test:faults`: all steps × all faults, each with resume and with undo, and a table at the end.
 *   --grounds sockets,ports,postgres   --steps a,b   --faults a,b   --rounds resume   --when before   --jobs 2   --out table.md   --minutes 30   --sample 40
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { bundleTool } from './bundle.ts'
import { allCases, type CaseResult, runCase } from './cases.ts'

const { values } = parseArgs({
  options: {
    grounds: { type: 'string' },
    steps: { type: 'string' },
    faults: { type: 'string' },
    rounds: { type: 'string' },
    when: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    out: { type: 'string' },
    minutes: { type: 'string' },
    sample: { type: 'string' },
  },
})
const within = (given: string | undefined, value: string) => given === undefined || given.split(',').includes(value)
const cases = allCases().filter(
  (each) =>
    within(values.grounds, each.ground ?? 'sockets') &&
    within(values.steps, each.step) &&
    within(values.faults, each.fault) &&
    within(values.rounds, each.round) &&
    within(values.when, each.when),
)
const end = values.minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + Number(values.minutes) * 60_000
const tool = await bundleTool()
const results: CaseResult[] = []
// A sample is spread over all cases, the same each time.
const every = Math.max(1, cases.length / Number(values.sample ?? cases.length))
const queue = cases.filter((_, index) => Math.floor(index / every) !== Math.floor((index - 1) / every))
const wanted = queue.length

async function worker(): Promise<void> {
  for (let test = queue.shift(); test && Date.now() < end; test = queue.shift()) {
    const result = await runCase(tool, test).catch((error: Error) => ({
      ...(test as (typeof cases)[number]),
      ok: false,
      way: '',
      problem: error.message,
      failed: 0,
      outage: 0,
      longestMs: 0,
      seconds: 0,
    }))
    results.push(result)
    const { ground, step, when, fault, round, ok, way, problem, failed, outage, seconds } = result
    console.log(
      `${ok ? 'ok  ' : 'FAIL'} ${results.length}/${wanted} ${fault} ${when} ${step} (${ground}), ${round}: ${way}${problem ? ` | ${problem}` : ''} | ${failed} failed over ${outage.toFixed(1)} s | ${seconds.toFixed(0)} s`,
    )
  }
}
// The case under way is brought to its end, so that nothing is left running.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => queue.splice(0))
await Promise.all(Array.from({ length: Number(values.jobs) }, worker))

const table = tableOf(results)
console.log(`\n${table}\n`)
if (values.out) writeFileSync(values.out, `${table}\n`)
const bad = results.filter((each) => !each.ok)
console.log(`${results.length} of ${wanted} cases, ${bad.length} failed`)
process.exit(bad.length > 0 ? 1 : 0)

/** A row a step and moment, a column a fault; in a cell what became of both rounds, and the failed requests. */
function tableOf(all: readonly CaseResult[]): string {
  const names = [...new Set(all.map((each) => each.fault))]
  const rows = [...new Set(all.map((each) => `${each.ground}: ${each.when} ${each.step}`))]
  const cell = (row: string, fault: string) => {
    const found = all.filter((each) => `${each.ground}: ${each.when} ${each.step}` === row && each.fault === fault)
    if (found.length === 0) return ''
    const failed = Math.max(...found.map((each) => each.failed))
    return `${found.every((each) => each.ok) ? '✓' : '✗'}${failed > 0 ? ` ${failed}` : ''}`
  }
  return [
    `| | ${names.join(' | ')} |`,
    `|---|${names.map(() => '---|').join('')}`,
    ...rows.map((row) => `| ${row} | ${names.map((name) => cell(row, name)).join(' | ')} |`),
  ].join('\n')
}
