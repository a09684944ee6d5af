/** `slipway history`, `show` and `report`: looking back at runs, from their logs. */
import { resolve } from 'node:path'
import {
  duration,
  listRuns,
  paintFor,
  plainSink,
  printable,
  type RunSummary,
  readRun,
  reportHtml,
} from '../output/index.ts'
import type { Io } from './io.ts'
import { shortPath } from './place.ts'
import { projectFolder } from './project.ts'
import { writeOwn } from './write.ts'

export function historyCommand(options: { json?: boolean; count: number }, io: Io): number {
  const runs = listRuns(projectFolder(io.cwd)).slice(0, options.count)
  if (options.json) io.out(`${JSON.stringify({ v: 1, runs }, undefined, 2)}\n`)
  else if (runs.length === 0) io.err('No run has been logged here yet.\n')
  else io.out(historyText(runs))
  return 0
}

function historyText(runs: readonly RunSummary[]): string {
  const rows = runs.map((run) => [
    run.id.slice(-6),
    localTime(run.at),
    run.outcome + (run.dryRun ? ', dry run' : ''),
    run.durationMs === undefined ? '' : duration(run.durationMs),
    run.user,
    printable(run.argv.join(' ')) || '(default task)',
  ])
  const titles = ['RUN', 'WHEN', 'OUTCOME', 'TIME', 'WHO', 'WHAT']
  const widths = titles.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd()
  return `${[titles, ...rows].map(line).join('\n')}\n`
}

function localTime(at: number): string {
  const time = new Date(at)
  const two = (number: number) => String(number).padStart(2, '0')
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}`
}

/** A run as it was shown, on stdout, so that it can be searched and paged. */
export function showCommand(run: string | undefined, options: { verbose?: boolean; json?: boolean }, io: Io): number {
  const events = readRun(projectFolder(io.cwd), run)
  if (options.json) {
    for (const event of events) io.out(`${JSON.stringify(event)}\n`)
    return 0
  }
  const writers = { out: io.out, err: io.out, paint: paintFor(io.stdout, io.env) }
  const sink = plainSink({ ...writers, verbosity: options.verbose ? 'verbose' : 'normal' })
  for (const event of events) sink.event(event)
  return 0
}

export function reportCommand(run: string | undefined, options: { output?: string }, io: Io): number {
  const events = readRun(projectFolder(io.cwd), run)
  const html = reportHtml(events)
  if (options.output === '-') {
    io.out(html)
    return 0
  }
  const file = resolve(io.cwd, options.output ?? `slipway-${events[0]?.run ?? 'run'}.html`)
  writeOwn(file, html)
  io.out(`${shortPath(file, io.cwd)}\n`)
  return 0
}
