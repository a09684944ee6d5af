/** Many steps in one round trip: sends the script on standard input, and takes its output apart as it comes. */
import { randomBytes } from 'node:crypto'
import { StringDecoder } from 'node:string_decoder'
import { currentRun, throwIfAborted } from '../events/run.ts'
import { type Command, createScriptParser, guardIndex, renderScript, type ScriptEvent, sh } from '../shell/index.ts'
import { unifiedDiff } from './diff.ts'
import { CommandError, oneLine, ScriptError } from './errors.ts'
import type { FileChange, Running, ScriptOptions, ScriptStep, StepResult } from './host.ts'
import { type StartOptions, stubbedResult } from './running.ts'

export interface ScriptSite {
  readonly name: string
  /** Runs `text` with `sh`. With `secret`, it travels by standard input alone. */
  script(text: string, secret: boolean, display: string, options: StartOptions): Running
}

interface StepProgress {
  name: string
  stdout: string
  stderr: string
  exitCode: number | null
  begun: number | undefined
  ended: number | undefined
}

export async function runScript(
  site: ScriptSite,
  steps: readonly ScriptStep[],
  options: ScriptOptions = {},
): Promise<StepResult[]> {
  const run = currentRun()
  throwIfAborted(run)
  const kind = options.kind ?? 'write'
  if (steps.length === 0) return []
  if (run.options.dryRun && kind === 'write') {
    const before = await contents(site, steps)
    for (const step of steps) {
      if (step.writes) for (const change of changesOf(step)) heldBack(site, change, before.get(change.path))
      else run.emit({ type: 'held-back', host: site.name, display: `${step.name}: ${oneLine(String(step.command))}` })
    }
    return stubbedResult<StepResult[]>(`the script ${steps.map((step) => step.name).join(', ')}`)
  }
  const nonce = randomBytes(6).toString('hex')
  const quiet = options.quiet ?? false
  const guard: StepProgress = {
    name: 'guard',
    stdout: '',
    stderr: '',
    exitCode: null,
    begun: undefined,
    ended: undefined,
  }
  const progress = steps.map((step): StepProgress => ({ ...guard, name: step.name }))
  const at = (index: number) => (index === guardIndex ? guard : progress[index])
  const outside = { stdout: '', stderr: '' }
  const take = (stream: 'stdout' | 'stderr', events: readonly ScriptEvent[]) => {
    for (const event of events) {
      if (event.type === 'output') {
        const step = event.index === undefined ? undefined : at(event.index)
        if (!step) outside[stream] += event.text
        else {
          step[stream] += event.text
          if (event.index !== undefined && steps[event.index]?.hidden) continue
          const id = `${nonce}.${event.index}`
          run.emit({ type: 'command.output', id, host: site.name, stream, text: event.text, quiet })
        }
        continue
      }
      const step = at(event.index)
      if (!step || stream === 'stderr') continue
      const id = `${nonce}.${event.index}`
      // The guard is worth a line only where it stops the script, which the error says.
      const shown = !quiet && step !== guard
      if (event.type === 'begin') {
        step.begun = performance.now()
        if (shown) run.emit({ type: 'step.started', id, title: step.name, host: site.name })
        continue
      }
      step.ended = performance.now()
      step.exitCode = event.exitCode
      const durationMs = step.ended - (step.begun ?? step.ended)
      const outcome = event.exitCode === 0 ? 'ok' : 'failed'
      if (shown) run.emit({ type: 'step.finished', id, outcome, durationMs })
    }
  }
  const display =
    steps.length === 1 ? (steps[0]?.name ?? '') : `${steps.length} steps: ${steps.map((step) => step.name).join(', ')}`
  const sent = renderScript(steps, nonce, options.guard)
  const { onStdout, onStderr, flush } = parsers(nonce, take)
  const secret = [...steps.map((step) => step.command), ...(options.guard ? [options.guard] : [])].some(
    (command) => command.secrets.length > 0,
  )
  const running = site.script(sent, secret, display, {
    kind,
    // Its steps are shown, each by its name; what holds them together is worth a line only with -v.
    quiet: true,
    timeoutMs: options.timeoutMs,
    tap: { stdout: onStdout, stderr: onStderr },
  })
  let failure: unknown
  try {
    await running
  } catch (error) {
    failure = error
  }
  flush()
  const results = progress.map(
    ({ name, stdout, stderr, exitCode, begun, ended }): StepResult => ({
      name,
      stdout,
      stderr,
      exitCode,
      durationMs: begun === undefined ? 0 : (ended ?? performance.now()) - begun,
    }),
  )
  if (failure !== undefined && !(failure instanceof CommandError)) throw failure
  const details = (step: { stdout: string; stderr: string }) => ({
    host: site.name,
    detail: `${step.stdout}${step.stderr}`.trimEnd().split('\n').slice(-20).join('\n') || undefined,
    ...(failure === undefined ? {} : { cause: failure }),
  })
  if (options.guard && guard.exitCode !== null && guard.exitCode !== 0) {
    throw new ScriptError('guard-refused', `the check before the changes failed on ${site.name}`, results, undefined, {
      ...details(guard),
      state: 'Nothing was changed: the check comes first.',
    })
  }
  const failed = results.findIndex((result, index) => result.exitCode !== 0 && !steps[index]?.nothrow)
  if (failed < 0) return results
  const step = results[failed] as StepResult
  const done =
    failed === 0
      ? 'It was the first.'
      : failed === 1
        ? 'The step before it is done.'
        : `The ${failed} steps before it are done.`
  if (step.exitCode === null && progress[failed]?.begun === undefined) {
    throw new ScriptError('script-not-run', `the script did not run on ${site.name}`, results, undefined, {
      ...details(outside),
      state: 'None of its steps was begun.',
    })
  }
  const how = step.exitCode === null ? 'did not end' : `failed with exit status ${step.exitCode}`
  throw new ScriptError('step-failed', `${step.name} ${how} on ${site.name}`, results, step, {
    ...details(step),
    state: `${done}${failed + 1 < steps.length ? ' The ones after it were not begun.' : ''}`,
  })
}

const changesOf = ({ writes }: ScriptStep): readonly FileChange[] => (writes === undefined ? [] : [writes].flat())

/** What is in the files that a script would write; read in one call, and kept from every output. */
async function contents(site: ScriptSite, steps: readonly ScriptStep[]): Promise<Map<string, string>> {
  const paths = steps.flatMap(changesOf).map(({ path }) => path)
  const reads = paths.map((path) => ({ name: path, command: sh`cat ${path} 2>/dev/null`, nothrow: true, hidden: true }))
  const read = await runScript(site, reads, { kind: 'probe', quiet: true })
  return new Map(read.flatMap(({ name, stdout, exitCode }) => (exitCode === 0 ? [[name, stdout] as const] : [])))
}

/** A write that a dry run holds back, with its diff; nothing where the file is like that already. */
function heldBack(
  site: ScriptSite,
  { path, text, shown = (each) => each }: FileChange,
  before: string | undefined,
): void {
  if (before === text) return
  const diff = unifiedDiff(shown(before ?? ''), shown(text), path)
  const hidden = `--- ${path}\n+++ ${path} (new)\n(only values that are not shown differ)\n`
  currentRun().emit({ type: 'held-back', host: site.name, display: `write ${path}`, diff: diff || hidden })
}

function parsers(nonce: string, take: (stream: 'stdout' | 'stderr', events: readonly ScriptEvent[]) => void) {
  const make = (stream: 'stdout' | 'stderr') => {
    const parser = createScriptParser(nonce)
    const decoder = new StringDecoder('utf8')
    return {
      push: (chunk: Buffer) => take(stream, parser.push(decoder.write(chunk))),
      end: () => take(stream, [...parser.push(decoder.end()), ...parser.flush()]),
    }
  }
  const out = make('stdout')
  const err = make('stderr')
  return {
    onStdout: out.push,
    onStderr: err.push,
    flush: () => {
      out.end()
      err.end()
    },
  }
}

export async function runProbes<K extends string>(
  site: ScriptSite,
  reads: Readonly<Record<K, Command>>,
): Promise<Record<K, StepResult>> {
  const names = Object.keys(reads) as K[]
  const steps = names.map((name) => ({ name, command: reads[name], nothrow: true }))
  const results = await runScript(site, steps, { kind: 'probe', quiet: true })
  return Object.fromEntries(results.map((result, index) => [names[index] as K, result])) as Record<K, StepResult>
}
