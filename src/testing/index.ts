/** For testing one's own task file: runs whose events are kept, hosts that record and answer, and the sandbox. */
import '../only-copy.ts'
import { createRun, noPrompter, type Prompter, type RunEvent, type RunOptions, withRun } from '../events/index.ts'
import { collectTasks } from '../tasks/index.ts'
import type { FakeHosts } from './fake-hosts.ts'

export { type FakeHosts, type FakeHostsOptions, fakeHosts } from './fake-hosts.ts'
export type { Answer } from './fake-transport.ts'

/** How a recorded run is set up: its hosts, its options, the answers to its questions. */
export interface RecordOptions extends RunOptions {
  hosts?: FakeHosts
  /** Answers to questions; those without one are refused, as without a terminal. */
  prompter?: Partial<Prompter>
}

/** What a recorded run came to. */
export interface Recording<T> {
  /** What `fn` resolved with; undefined where it failed. */
  result?: T
  /** What `fn` rejected with. */
  error?: unknown
  events: RunEvent[]
  /** Texts of `result()`: what the command line prints on stdout. */
  results: string[]
}

/**
 * Runs `fn` as a run of its own, with nothing shown; resolves with everything it told, also where it failed.
 *
 * @example
 * ```ts
 * const hosts = fakeHosts({ answer: (command) => (command === 'uptime' ? 'up 3 days' : undefined) })
 * const { results } = await recordRun(() => uptime(), { hosts })
 * expect(hosts.commands('web1')).toEqual(['uptime'])
 * ```
 */
export async function recordRun<T>(fn: () => T | PromiseLike<T>, options: RecordOptions = {}): Promise<Recording<T>> {
  const { hosts, prompter, ...runOptions } = options
  const events: RunEvent[] = []
  const run = createRun({ options: runOptions, prompter: { ...noPrompter, ...prompter } })
  run.bus.on((event) => events.push(event))
  hosts?.install(run)
  const outcome = await withRun(run, async () => {
    try {
      return { result: await fn() }
    } catch (error) {
      return { error }
    } finally {
      await run.finish()
    }
  })
  return { ...outcome, events, results: events.flatMap((event) => (event.type === 'result' ? [event.text] : [])) }
}

/** Gives the tasks of a task file their names, as the command line does: `nameTasks(await import('../tasks.ts'))`. */
export function nameTasks<T extends object>(taskFile: T): T {
  collectTasks(taskFile as Record<string, unknown>, 'tasks.ts', () => false)
  return taskFile
}

/** A sandbox that a test has started: where it is, and how it is asked and ended. */
export interface TestSandbox {
  /** For `recordRun(fn, { sshConfigFile })`: every destination is the sandbox. */
  sshConfigFile: string
  /** The home there. */
  home: string
  /** Where its web server listens on 127.0.0.1; sites are told apart by the Host header. */
  httpPort: number
  /** Ends it, and removes it. */
  remove(): Promise<void>
}

/**
 * A real sshd and nginx on loopback, for the project in `dir`: for `beforeAll`, with `remove` in `afterAll`.
 *
 * @example
 * ```ts
 * const there = await sandbox(projectDir) // in beforeAll; there.remove() in afterAll
 * const { results } = await recordRun(() => uptime(), { sshConfigFile: there.sshConfigFile })
 * ```
 */
export async function sandbox(dir: string): Promise<TestSandbox> {
  const { removeSandbox, startSandbox } = await import('../sandbox/index.ts')
  const { sshConfigFile, home, httpPort } = await startSandbox({ dir })
  return { sshConfigFile, home, httpPort, remove: () => removeSandbox({ dir }) }
}
