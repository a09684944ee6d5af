/** What showing a run costs, in processor time, which other work on the machine changes little. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import { connectSinks, paintFor, terminalSink } from '../../../src/output/index.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const seconds = 10
const linesPerSecond = 10_000

/** Milliseconds of processor time for ten seconds of a command that prints 10,000 lines a second, `perChunk` at a time. */
function cost(perChunk: number, shown: boolean): { cpuMs: number; drawn: number } {
  const run = createRun()
  let drawn = 0
  const err = (text: string) => {
    drawn += text.length
  }
  const sink = terminalSink({
    ...{ out: err, err, outIsTerminal: true },
    paint: paintFor({ isTTY: true }, {}),
    size: () => ({ columns: 100, rows: 30 }),
  })
  const close = shown ? connectSinks(run, [sink]) : () => {}
  const step = 10
  const line = `${'a line of the output of a command '.repeat(2)}\n`
  const chunk = line.repeat(perChunk)
  const told = { id: '1', host: 'web1', quiet: false } as const
  withRun(run, () => run.emit({ type: 'command.started', display: 'make', kind: 'write', ...told }))
  const before = process.cpuUsage()
  for (let at = 0; at < seconds * 1000; at += step) {
    for (let lines = 0; lines < (linesPerSecond * step) / 1000; lines += perChunk) {
      withRun(run, () => run.emit({ type: 'command.output', stream: 'stdout', text: chunk, ...told }))
    }
    vi.advanceTimersByTime(step)
  }
  const { user, system } = process.cpuUsage(before)
  close()
  return { cpuMs: (user + system) / 1000, drawn }
}

it.each([1, 50])('costs under 5 % of a run that prints 10,000 lines a second, %i at a time', (perChunk) => {
  cost(perChunk, true)
  const { cpuMs, drawn } = cost(perChunk, true)
  expect(drawn).toBeGreaterThan(seconds * linesPerSecond * 60)
  expect((cpuMs - cost(perChunk, false).cpuMs) / (seconds * 1000)).toBeLessThan(0.05)
})
