/**
 * A run: one invocation. It carries its events, its abort signal and its options through the async context, and
 * nothing else: no current host, no current directory.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import { type Bus, createBus } from './bus.ts'
import { AbortedError, abortedBy, SlipwayError, UsageError } from './errors.ts'
import type { EventBody } from './events.ts'

/** What narrows and paces fan-out: -H, -R, -x, -P, -z. */
export interface Selection {
  hosts?: string[]
  roles?: string[]
  exclude?: string[]
  /** `false`: one host after the other. */
  parallel?: boolean
  /** At most this many hosts at once. */
  poolSize?: number
}

/** How a run was asked for: dry run, selection of hosts, step by step, the sandbox. */
export interface RunOptions {
  dryRun?: boolean
  /** Print a change's steps and stop: `--plan`. */
  planOnly?: boolean
  /** Answer yes to every confirmation: `--yes`. */
  yes?: boolean
  /** Ask before each change: `--step`. */
  step?: boolean
  verbosity?: 'quiet' | 'normal' | 'verbose' | 'debug'
  /** Given to `ssh -G -F`. */
  sshConfigFile?: string
  /** The hosts are the sandbox: the names of its sites lead to this machine. */
  sandbox?: boolean
  /** Where the sandbox's Heroku is, if it is up: variables in place of the process's own. */
  herokuEnvironment?: Readonly<Record<string, string>>
  selection?: Selection
  keepFailed?: boolean
  /** The folder with the task file and config/; everything relative is relative to it. */
  projectDir?: string
}

/** Asks the person at the terminal. Every method rejects with a UsageError where there is none. */
export interface Prompter {
  readonly interactive: boolean
  confirm(message: string): Promise<boolean>
  /** The typed text must equal `expected`. */
  confirmTyped(message: string, expected: string): Promise<boolean>
  text(message: string, options?: { initial?: string }): Promise<string>
  password(message: string): Promise<string>
  /** Leaves the terminal to something else (an interactive shell) until the returned function is called. */
  pause?(): () => void
}

/** Whatever has a value that must never be shown. */
export interface Revealable {
  reveal(): string
}

/** One invocation: its events, its abort signal, its options, and what was said to be done at its end. */
export interface Run {
  /** Sorts by time: `20261127T101500-ab12cd`. */
  readonly id: string
  readonly options: Readonly<RunOptions>
  readonly bus: Bus
  /** Aborted by Ctrl-C, or by the failure of a sibling in the same scope. */
  readonly signal: AbortSignal
  readonly prompter: Prompter
  /** The id of the task that is running here. */
  readonly taskId?: string
  /** Values to scrub from everything shown or kept; added to as secrets are resolved. */
  readonly secrets: Set<Revealable>
  emit(body: EventBody): void
  /** State with the life of the run (the connection pool, parsed configuration), made on first use. */
  memo<T>(key: unknown, make: () => T): T
  /** Called at the end of the run, last in first out, after an abort too. */
  defer(close: () => void | Promise<void>): void
  /** Says that -H/-R/-x/-P/-z took effect; at the end, options that nothing used are an error. */
  usedSelection: boolean
}

const storage = new AsyncLocalStorage<Run>()

/** The run that this code is part of. Throws where there is none: operations need somewhere to tell what they do. */
export function currentRun(): Run {
  const run = storage.getStore()
  if (!run) {
    throw new SlipwayError('no-run', 'this was called outside a run', {
      next: 'Call it from a task, or wrap it: `await withRun(createRun(), () => …)`.',
    })
  }
  return run
}

export function maybeRun(): Run | undefined {
  return storage.getStore()
}

/** The hosts that this run has connected to, by name: what an error may say of them depends on it. */
export function hostsReached(run: Run): Set<string> {
  return run.memo('hosts reached', () => new Set<string>())
}

/** Runs `fn` as part of `run`. */
export function withRun<T>(run: Run, fn: () => T): T {
  return storage.run(run, fn)
}

/** Refuses every question: what a run without a terminal has. */
export const noPrompter: Prompter = {
  interactive: false,
  confirm: refuse,
  confirmTyped: refuse,
  text: refuse,
  password: refuse,
}

async function refuse(message: string): Promise<never> {
  throw new UsageError('no-terminal', `there is no terminal to ask: ${message}`, {
    state: 'What it was asked for was not done.',
    next: 'Run it on a terminal, answer beforehand (`--yes` for confirmations, `.env` for passwords).',
  })
}

export interface RunSetup {
  options?: RunOptions
  bus?: Bus
  signal?: AbortSignal
  prompter?: Prompter
}

/** A new run, and `finish`, which closes all that was deferred. */
export function createRun(setup: RunSetup = {}): Run & { finish(): Promise<void> } {
  const bus = setup.bus ?? createBus()
  const memos = new Map<unknown, unknown>()
  const closers: (() => void | Promise<void>)[] = []
  const id = `${new Date().toISOString().replace(/[-:]|\.\d+Z/g, '')}-${randomBytes(3).toString('hex')}`
  return {
    id,
    // What has no steps to print must not be done instead: its writes are held back, as in a dry run.
    options: setup.options?.planOnly ? { ...setup.options, dryRun: true } : (setup.options ?? {}),
    bus,
    signal: setup.signal ?? new AbortController().signal,
    prompter: setup.prompter ?? noPrompter,
    secrets: new Set(),
    usedSelection: false,
    emit(body) {
      const taskId = storage.getStore()?.taskId
      const at = Date.now()
      // Tens of thousands of log lines may come in a second: each is made one object, once.
      bus.emit(taskId === undefined ? { ...body, at, run: id } : { ...body, at, run: id, task: taskId })
    },
    memo<T>(key: unknown, make: () => T): T {
      if (!memos.has(key)) memos.set(key, make())
      return memos.get(key) as T
    },
    defer(close) {
      closers.push(close)
    },
    async finish() {
      for (let close = closers.pop(); close; close = closers.pop()) await close()
    },
  }
}

/** The same run in a narrower scope: another signal, another task, without questions (`step`). State is shared with the outer one. */
export function scoped(run: Run, narrower: { signal?: AbortSignal; taskId?: string; step?: false }): Run {
  return Object.create(run, {
    ...(narrower.step === false ? { options: { value: { ...run.options, step: false } } } : {}),
    ...(narrower.signal ? { signal: { value: narrower.signal } } : {}),
    ...(narrower.taskId ? { taskId: { value: narrower.taskId } } : {}),
    usedSelection: {
      get: () => run.usedSelection,
      set: (used: boolean) => {
        run.usedSelection = used
      },
    },
  }) as Run
}

/**
 * Runs `branches` at the same time as one scope: when one fails, the others are aborted and awaited before its
 * error goes on, so that nothing is released under a write that is still going.
 *
 * @example
 * ```ts
 * await together([() => app.staging.deploy(), () => host('web1').$`systemctl --user restart mailer`])
 * ```
 */
export async function together<T>(branches: readonly (() => Promise<T>)[]): Promise<T[]> {
  const outer = currentRun()
  const controller = new AbortController()
  const signal = AbortSignal.any([outer.signal, controller.signal])
  const inner = scoped(outer, { signal })
  let first: { error: unknown } | undefined
  const results = await Promise.all(
    branches.map((branch) =>
      withRun(inner, async () => {
        try {
          return { value: await branch() }
        } catch (error) {
          first ??= { error }
          controller.abort(new AbortedError('aborted because another part of the same call failed'))
          return undefined
        }
      }),
    ),
  )
  if (first) throw first.error
  return results.map((result) => (result as { value: T }).value)
}

/** Throws the abort's reason if this run has been interrupted. */
export function throwIfAborted(run: Run): void {
  if (run.signal.aborted) throw abortedBy(run.signal)
}

/** With `--step`, asks before a change on `host`; without it, does nothing. Refused, the run ends before the change. */
export async function approve(run: Run, host: string, change: string): Promise<void> {
  if (!run.options.step) return
  if (await run.prompter.confirm(`${host}: ${change}`)) return
  throw new SlipwayError('not-approved', `not approved on ${host}: ${change}`, {
    host,
    state: 'It was not done; what came before it is.',
    next: 'Run it again to go on.',
  })
}
