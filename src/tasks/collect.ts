/** From the exports of a task file to its tasks: names, namespaces, the default, and what lists and help show. */
import { UsageError } from '../events/errors.ts'
import { isTask, nameTask } from './define.ts'
import type { Params, Task } from './task.ts'
import type { AnyParam } from './values.ts'

/** A task as lists, help and completion need it: plain data that can be cached. */
export interface TaskInfo {
  /** `deploy_staging`, `db.copy` */
  name: string
  about: string
  group?: string
  hidden?: true
  once?: true
  params: ParamInfo[]
}

export interface ParamInfo {
  name: string
  kind: 'value' | 'flag' | 'rest'
  placeholder: string
  help?: string
  required: boolean
  choices?: string[]
}

export interface Collected {
  tasks: Map<string, Task>
  /** The name of the default task. */
  default?: string
  /** What is exported as a plain function: no task, though its author may have meant one. */
  functions: ReadonlySet<string>
}

/** Names that the command line keeps for itself: a parameter may not have them. */
export type Reserved = (name: string) => boolean

/** Throws a UsageError where the exports contradict each other, or where there is no task among them. */
export function collectTasks(exports: Readonly<Record<string, unknown>>, file: string, reserved: Reserved): Collected {
  const tasks = new Map<string, Task>()
  const functions = new Set<string>()
  gather(exports, '', { tasks, functions }, new Set())
  const fallback = exports['default']
  let byDefault: string | undefined
  if (isTask(fallback)) {
    byDefault = [...tasks].find(([, task]) => task === fallback)?.[0]
    if (byDefault === undefined) {
      byDefault = 'default'
      tasks.set(byDefault, fallback)
    }
  } else if (fallback !== undefined) {
    throw new UsageError('bad-default', `the default export of ${file} is not a task`, {
      next: 'Export one of its tasks: `export default deploy_staging`.',
    })
  }
  if (tasks.size === 0) {
    const [meant] = functions
    throw new UsageError('no-tasks', `${file} exports no task`, {
      next: meant
        ? `${meant} is exported as a plain function: make it a task with \`task({ about: '…', run: … })\`.`
        : "Export one: `export const hello = task({ about: 'Say hello', run: () => note('hello') })`.",
    })
  }
  refuseClashes(tasks, file)
  for (const [name, task] of tasks) {
    nameTask(task, name)
    checkDefinition(name, task, file, reserved)
  }
  return { tasks, functions, ...(byDefault === undefined ? {} : { default: byDefault }) }
}

interface Gathered {
  tasks: Map<string, Task>
  functions: Set<string>
}

function gather(exports: object, prefix: string, into: Gathered, seen: Set<object>): void {
  seen.add(exports)
  for (const [key, value] of Object.entries(exports)) {
    if (key === 'default' && prefix === '') continue
    const name = key === 'default' ? prefix.slice(0, -1) : `${prefix}${key}`
    if (isTask(value)) into.tasks.set(name, value)
    else if (typeof value === 'function') into.functions.add(name)
    else if (isNamespace(value) && !seen.has(value)) gather(value, `${prefix}${key}.`, into, seen)
  }
}

/** `export * as db from './db.ts'`, also once bundled, or a plain object of tasks. */
function isNamespace(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  if (Object.prototype.toString.call(value) === '[object Module]') return true
  const prototype: unknown = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === null) && Object.values(value).some(isTask)
}

const folded = (name: string) => name.replaceAll('-', '_')

function refuseClashes(tasks: Map<string, Task>, file: string): void {
  const seen = new Map<string, string>()
  for (const name of tasks.keys()) {
    const other = seen.get(folded(name))
    if (other !== undefined) {
      throw new UsageError('name-clash', `${file} has two tasks that are called the same: ${other} and ${name}`, {
        next: 'Both spellings mean one task on the command line; rename one of them.',
      })
    }
    seen.set(folded(name), name)
  }
}

function checkDefinition(name: string, task: Task, file: string, reserved: Reserved): void {
  const { about, run, params } = task.definition as { about?: unknown; run?: unknown; params?: Params }
  if (typeof about !== 'string' || about.trim() === '') {
    throw new UsageError('bad-task', `${file}: the task ${name} has no description`, {
      next: "Say what it does: `task({ about: 'Restart the app server', … })`.",
    })
  }
  if (typeof run !== 'function') {
    throw new UsageError('bad-task', `${file}: the task ${name} has no function to run`, {
      next: 'Give it one: `task({ about, run: async () => { … } })`.',
    })
  }
  for (const [key, value] of Object.entries(params ?? {})) {
    if (typeof (value as AnyParam | undefined)?.parse !== 'function') {
      throw new UsageError('bad-task', `${file}: the parameter ${key} of ${name} has no type`, {
        next: `Give it one: \`params: { ${key}: string() }\`.`,
      })
    }
    if (reserved(key)) {
      throw new UsageError('reserved-parameter', `${file}: the parameter ${key} of ${name} is an option of \`tasks\``, {
        next: 'Call it something else: it could not be told apart on the command line.',
      })
    }
  }
}

/** The task that was typed, in either spelling. */
export function taskNamed<T>(tasks: ReadonlyMap<string, T>, typed: string): [string, T] | undefined {
  const exact = tasks.get(typed)
  if (exact) return [typed, exact]
  return [...tasks].find(([name]) => folded(name) === folded(typed))
}

export function describeTasks({ tasks }: Collected): TaskInfo[] {
  return [...tasks].map(([name, { definition }]) => ({
    name,
    about: definition.about.trim(),
    ...(definition.group === undefined ? {} : { group: definition.group }),
    ...(definition.hidden ? { hidden: true as const } : {}),
    ...(definition.once ? { once: true as const } : {}),
    params: Object.entries((definition.params ?? {}) as Record<string, AnyParam>).map(([param, type]) =>
      describeParam(param, type),
    ),
  }))
}

function describeParam(name: string, param: AnyParam): ParamInfo {
  const choices = param.choices?.()
  return {
    name,
    kind: param.kind,
    placeholder: param.placeholder,
    ...(param.help === undefined ? {} : { help: param.help }),
    required: param.required,
    ...(choices && param.kind !== 'flag' ? { choices: [...choices] } : {}),
  }
}
