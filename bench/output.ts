/**
 * What looking costs: an answer to a shell's Tab, the view on a terminal at 10,000 lines a second, and the report of a
 * run of 100,000 events in a browser. Medians; the bounds are on processor time,
 * which other work on the machine changes little.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createRun, type RunEvent, withRun } from '../src/events/index.ts'
import { connectSinks, paintFor, reportHtml, terminalSink } from '../src/output/index.ts'

const runs = Number(process.argv[2] ?? 30)
const dist = process.env['SLIPWAY_DIST'] ?? 'dist'
let missed = 0

const median = (values: number[]) => values.sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0

function row(what: string, value: number, unit: string, bound?: number): void {
  const kept = bound === undefined || value < bound
  if (!kept) missed++
  const limit = bound === undefined ? '' : `< ${bound} ${unit}`
  console.log(
    `| ${what} | ${value.toFixed(unit === 'ms' ? 1 : 2)} ${unit} | ${limit} | ${bound === undefined ? '' : kept ? 'kept' : 'MISSED'} |`,
  )
}

console.log('| what | median | must stay | |\n|---|---:|---|---|')

interface Cost {
  wallMs: number
  /** Of the process itself: what else the machine does changes it little. */
  cpuMs: number
}

/** What a process costs from its start to its end. */
function cost(argv: readonly string[], answers: boolean): Cost {
  const once = (): Cost => {
    const timed = ['-c', 'TIMEFORMAT="%U %S"; time "$@" 2>/dev/null', 'bash', process.execPath, ...argv]
    const started = performance.now()
    const { stdout, stderr } = spawnSync('bash', timed, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const wallMs = performance.now() - started
    if (answers && stdout === '') throw new Error(`no answer to ${argv.join(' ')}`)
    const [user = 0, system = 0] = stderr.trim().split(' ').map(Number)
    return { wallMs, cpuMs: (user + system) * 1000 }
  }
  once()
  const all = Array.from({ length: runs }, once)
  return { wallMs: median(all.map((each) => each.wallMs)), cpuMs: median(all.map((each) => each.cpuMs)) }
}

const startup = cost(['-e', '0'], false)
row('`node -e 0`, for comparison, processor', startup.cpuMs, 'ms')
row('`node -e 0`, from its start to its end', startup.wallMs, 'ms')
const tasks = join(dist, 'bin/tasks.js')
if (existsSync(tasks)) {
  for (const [what, words] of [
    ['a task', ['dep']],
    ['a value', ['start_app', '--release', 'st']],
  ] as const) {
    const { cpuMs, wallMs } = cost([tasks, '--complete', '--', ...words], true)
    row(`completion of ${what}, processor`, cpuMs, 'ms', 50)
    row(`completion of ${what}, from Tab to the answer`, wallMs, 'ms')
  }
} else console.log(`| completion: left out, there is no build in ${dist} | | | |`)

const linesPerSecond = 10_000
const line = `${'a line of the output of a command '.repeat(2)}\n`

/** Processor milliseconds of `seconds` of a command that prints 10,000 lines a second, in the real time that it takes. */
async function view(seconds: number, shown: boolean): Promise<number> {
  const run = createRun()
  let drawn = 0
  const err = (text: string) => {
    drawn += text.length
  }
  const size = () => ({ columns: 100, rows: 30 })
  const sink = terminalSink({ out: err, err, outIsTerminal: true, paint: paintFor({ isTTY: true }, {}), size })
  const close = shown ? connectSinks(run, [sink]) : () => {}
  const told = { id: '1', host: 'web1', quiet: false } as const
  withRun(run, () => run.emit({ type: 'command.started', display: 'make', kind: 'write', ...told }))
  const before = process.cpuUsage()
  const started = performance.now()
  for (let printed = 0; printed < seconds * linesPerSecond; ) {
    const due = Math.min(seconds * linesPerSecond, ((performance.now() - started) / 1000) * linesPerSecond)
    for (; printed < due; printed += 10)
      withRun(run, () => run.emit({ type: 'command.output', stream: 'stdout', text: line.repeat(10), ...told }))
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const { user, system } = process.cpuUsage(before)
  close()
  if (shown && drawn < seconds * linesPerSecond * line.length) throw new Error('not all of it was shown')
  return (user + system) / 1000
}

await view(1, true)
const [shown, hidden] = [await view(5, true), await view(5, false)]
row('the view on a terminal, of a run that prints 10,000 lines a second', ((shown - hidden) / 5000) * 100, '%', 5)

/** A run of 100,000 events: builds on four hosts. */
function longRun(): RunEvent[] {
  const run = createRun()
  const events: RunEvent[] = []
  run.bus.on((event) => events.push(event))
  withRun(run, () => {
    run.emit({ type: 'run.started', argv: ['build'], version: '0', user: 'ann', dryRun: false })
    run.emit({ type: 'task.started', id: '1', name: 'build', params: {} })
    for (let index = 0; index < 100_000; index++) {
      const base = { host: `web${index % 4}`, id: `m${Math.floor(index / 50)}`, quiet: false }
      if (index % 50 === 0) run.emit({ ...base, type: 'command.started', display: `command ${index}`, kind: 'write' })
      else if (index % 50 === 49)
        run.emit({ ...base, type: 'command.finished', exitCode: 0, signal: null, durationMs: 49 })
      else
        run.emit({
          ...base,
          type: 'command.output',
          stream: 'stdout',
          text: `line ${index} of what a long build prints\n`,
        })
    }
    run.emit({ type: 'task.finished', id: '1', outcome: 'ok', durationMs: 1000 })
    run.emit({ type: 'run.finished', outcome: 'ok', exitCode: 0, durationMs: 1000 })
  })
  return events
}

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
if (executablePath === undefined) console.log('| the report: left out, there is no chromium | | | |')
else {
  const { chromium } = await import('playwright-core')
  const dir = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
  const browser = await chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] })
  try {
    const file = join(dir, 'report.html')
    writeFileSync(file, reportHtml(longRun()))
    const times: number[] = []
    const busy: number[] = []
    for (let round = 0; round < Math.max(3, Math.min(9, runs / 3)); round++) {
      const page = await browser.newPage()
      const session = await page.context().newCDPSession(page)
      await session.send('Performance.enable', { timeDomain: 'threadTicks' })
      await page.goto(`file://${file}`)
      // From the navigation to the first frame after everything was laid out, by the page's own clock.
      times.push(
        await page.evaluate(
          'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))',
        ),
      )
      const { metrics } = await session.send('Performance.getMetrics')
      busy.push((metrics.find(({ name }) => name === 'TaskDuration')?.value ?? Number.NaN) * 1000)
      await page.close()
    }
    row("the report of 100,000 events in chromium, the page's own work", median(busy), 'ms', 1000)
    row('the report of 100,000 events in chromium, until it is drawn', median(times), 'ms')
  } finally {
    await browser.close()
    rmSync(dir, { recursive: true })
  }
}
process.exitCode = missed > 0 ? 1 : 0
