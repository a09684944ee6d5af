/** `task()`: a definition made callable. A call is a task of the current run, nested in the one that made it. */
import { asSlipwayError, type ErrorRecord, type Run, SlipwayError, StubbedResultError } from '../events/index.ts'
import { currentRun, scoped, throwIfAborted, withRun } from '../events/run.ts'
import { errorRecord, rememberWhoThrew } from './record.ts'
import type { Params, Task, TaskDefinition } from './task.ts'
import { type AnyParam, formatValues, givenValues, shownValues } from './values.ts'

const setName = Symbol('setName')

/**
 * Makes a task.
 *
 * @example
 * ```ts
 * export const restart_app = task({
 *   about: 'Restart the app server',
 *   params: { release: app.deployment },
 *   run: ({ release }) => release.server.restart(),
 * })
 * ```
 */
// biome-ignore lint/complexity/noBannedTypes: {} is what a task without parameters has.
export function task<const P extends Params = {}, R = unknown>(definition: TaskDefinition<P, R>): Task<P, R> {
  let name = 'unnamed task'
  const callable = (given: Readonly<Record<string, unknown>> = {}) => call(callable as unknown as Task, given)
  Object.defineProperties(callable, {
    definition: { value: definition },
    taskName: { get: () => name },
    [setName]: {
      value: (exported: string) => {
        name = exported
      },
    },
  })
  return callable as unknown as Task<P, R>
}

export function isTask(value: unknown): value is Task {
  return typeof value === 'function' && setName in value
}

/** Gives a task the name it was exported under. */
export function nameTask(task: Task, name: string): void {
  ;(task as unknown as { [setName](name: string): void })[setName](name)
}

interface Calls {
  count: number
  /** By id: who called it, and what it is where it runs once. */
  under: Map<string, { parent?: string; once?: { task: Task; key: string } }>
  /** Results of tasks that run once, by task and then by parameters. */
  once: Map<Task, Map<string, Promise<unknown>>>
}

const callsOf = (run: Run): Calls => run.memo(setName, () => ({ count: 0, under: new Map(), once: new Map() }))

async function call(task: Task, given: Readonly<Record<string, unknown>>): Promise<unknown> {
  const run = currentRun()
  const { definition, taskName: name } = task
  const params: Params = definition.params ?? {}
  const values = givenValues(name, params, given)
  const calls = callsOf(run)
  const id = String(++calls.count)
  const parent = run.taskId
  calls.under.set(id, { parent })

  const started = performance.now()
  run.emit({ type: 'task.started', id, ...(parent ? { parent } : {}), name, params: shownValues(params, values) })
  const finished = (
    outcome: 'ok' | 'failed' | 'aborted' | 'stopped',
    more: { error?: ErrorRecord; reused?: true } = {},
  ) => run.emit({ type: 'task.finished', id, outcome, durationMs: Math.round(performance.now() - started), ...more })

  let reused = false
  try {
    const result = await withRun(scoped(run, { taskId: id }), async () => {
      throwIfAborted(run)
      await fallBack(params, values)
      const body = async () => definition.run(values as never)
      if (!definition.once) return await body()
      const shared = runOnce(calls, task, id, JSON.stringify(formatValues(params, values)), body)
      reused = shared.reused
      return await shared.result
    })
    finished('ok', reused ? { reused: true } : {})
    return result
  } catch (error) {
    if (error instanceof StubbedResultError) {
      finished('stopped', { error: errorRecord(error) })
      // The run goes on; what depends on this task's result stops in its turn.
      return stub(`the task ${name}`)
    }
    rememberWhoThrew(error, name)
    const known = asSlipwayError(error)
    finished(known.code === 'aborted' ? 'aborted' : 'failed', {
      error: errorRecord(known),
      ...(reused ? { reused } : {}),
    })
    throw error
  }
}

async function fallBack(params: Params, values: Record<string, unknown>): Promise<void> {
  for (const [name, param] of Object.entries(params) as [string, AnyParam][]) {
    if (!(name in values) && param.fallback) values[name] = await param.fallback()
  }
}

function runOnce(calls: Calls, task: Task, id: string, key: string, body: () => Promise<unknown>) {
  const results = calls.once.get(task) ?? new Map<string, Promise<unknown>>()
  calls.once.set(task, results)
  const first = results.get(key)
  if (first) {
    refuseToWaitForOneself(calls, task, id, key)
    return { result: first, reused: true }
  }
  calls.under.get(id)!.once = { task, key }
  const result = body()
  results.set(key, result)
  // What was only interrupted (a sibling failed) has not happened: a later call does it.
  result.catch((error) => {
    if (asSlipwayError(error).code === 'aborted') results.delete(key)
  })
  return { result, reused: false }
}

function refuseToWaitForOneself(calls: Calls, task: Task, id: string, key: string): void {
  for (let above = calls.under.get(id)?.parent; above; above = calls.under.get(above)?.parent) {
    const once = calls.under.get(above)?.once
    if (once?.task !== task || once.key !== key) continue
    throw new SlipwayError('once-cycle', `${task.taskName} runs once, and calls itself`, {
      next: 'Take the call out of it, or out of the tasks it calls.',
    })
  }
}

/** In a dry run, stands for what is not known: looking at it throws, awaiting or passing it on does not. */
function stub(of: string): unknown {
  const touched = () => {
    throw new StubbedResultError(of)
  }
  return new Proxy(() => {}, {
    get: (_target, property) => (property === 'then' ? undefined : touched()),
    has: touched,
    apply: touched,
    ownKeys: touched,
    getOwnPropertyDescriptor: touched,
  })
}
