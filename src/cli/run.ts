/** A run from the command line: its outputs, its interrupts, its calls one after the other, and its exit status. */
import { userInfo } from 'node:os'
import { asSlipwayError, createRun, type RunOptions, type SlipwayError, UsageError, withRun } from '../events/index.ts'
import { connectSinks, logSink } from '../output/index.ts'
import { ExitStatus } from '../tasks/record.ts'
import { failureRecord } from './failure.ts'
import { listenForForgotten, listenForInterrupts } from './interrupt.ts'
import type { Io } from './io.ts'
import { createPrompter } from './prompter.ts'
import { shownArgv } from './shown.ts'
import { chooseSink } from './sinks.ts'

export interface RunSettings {
  io: Io
  argv: readonly string[]
  version: string
  options: RunOptions
  json?: boolean | undefined
  taskFile?: string
  /** Where `.slipway/runs/` is. */
  projectDir: string
  /** Called with the failure, or without one, before the run is reported as over. */
  ended?(failure: SlipwayError | undefined): void
}

/** Runs `body` as a run, shows and logs it, and resolves with the exit status. Never rejects. */
export async function runAndShow(settings: RunSettings, body: () => Promise<void>): Promise<number> {
  const { io, options, projectDir } = settings
  const interrupts = listenForInterrupts((text) => {
    const goOn = shown.pause?.()
    io.err(text)
    goOn?.()
  })
  const shown = chooseSink(io, { json: settings.json, verbosity: options.verbosity })
  const prompter = createPrompter(io, options, interrupts, shown.pause)
  const run = createRun({ options, signal: interrupts.signal, prompter })
  const closeSinks = connectSinks(run, [shown, logSink(projectDir, run.id, (text) => io.err(`warning: ${text}\n`))])
  io.onBrokenPipe(() => interrupts.abort('interrupted: nobody reads the output any more'))
  const started = performance.now()

  const forgotten = listenForForgotten((error) => interrupts.abort(error))

  const failure = await withRun(run, async () => {
    run.emit({
      type: 'run.started',
      argv: shownArgv(settings.argv),
      version: settings.version,
      user: userName(),
      dryRun: options.dryRun === true,
      ...(settings.taskFile ? { taskFile: settings.taskFile } : {}),
    })
    const first = await failureOf(async () => {
      await body()
      // A promise that nobody awaited may have failed a moment ago, and is not known to have yet.
      await new Promise((resolve) => setImmediate(resolve))
      if (options.selection && !run.usedSelection) throw unusedSelection(options)
    })
    // Also after a failure and an interruption: locks and connections are let go before anything is reported as over.
    const last = await failureOf(() => run.finish())
    if (first && last) run.emit({ type: 'warning', text: `while ending the run: ${last.message}` })
    return forgotten.first() ?? first ?? last
  })

  settings.ended?.(failure)
  withRun(run, () => {
    if (failure && !(failure instanceof ExitStatus))
      run.emit({ type: 'error', error: failureRecord(failure, projectDir) })
    run.emit({
      type: 'run.finished',
      outcome: !failure ? 'ok' : failure.code === 'aborted' ? 'aborted' : 'failed',
      exitCode: failure?.exitCode ?? 0,
      durationMs: Math.round(performance.now() - started),
    })
  })
  closeSinks()
  interrupts.dispose()
  forgotten.dispose()
  return failure?.exitCode ?? 0
}

async function failureOf(body: () => Promise<void>): Promise<SlipwayError | undefined> {
  try {
    await body()
    return undefined
  } catch (error) {
    return asSlipwayError(error)
  }
}

function unusedSelection(options: RunOptions): UsageError {
  const { hosts, roles, exclude, parallel, poolSize } = options.selection ?? {}
  const flags = [
    hosts && '-H',
    roles && '-R',
    exclude && '-x',
    parallel !== undefined && (parallel ? '-P' : '--serial'),
    poolSize && '-z',
  ]
  const given = flags.filter(Boolean).join(', ')
  return new UsageError('unused-selection', `${given} narrowed nothing: no task ran over several hosts`, {
    state: 'The tasks did run, as if it had not been given.',
    next: 'Leave it out, or name a task that runs over hosts: `hosts(…).each(…)`.',
  })
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    return process.env['USER'] ?? String(process.getuid?.() ?? '')
  }
}
