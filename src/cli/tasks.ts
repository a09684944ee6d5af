/** The `tasks` command: from argv to an exit status. */
import { dirname } from 'node:path'
import { UsageError } from '../events/errors.ts'
import type { RunOptions } from '../events/run.ts'
import { taskNamed } from '../tasks/collect.ts'
import { givenValues } from '../tasks/values.ts'
import { showFailure } from './failure.ts'
import type { Io } from './io.ts'
import { listJson, listText } from './list.ts'
import { describeTaskFile, loadTaskFile } from './load.ts'
import type { Manifest } from './manifest.ts'
import { nearestTaskFile } from './nearest.ts'
import { packageVersion } from './package.ts'
import { type CoreValues, parseCore, taskHelp, tasksHelp } from './parse.ts'
import { failedBefore, rememberFailed } from './retry.ts'
import { runAndShow } from './run.ts'
import { type CommandLine, type KnownTasks, splitCalls, splitCore, unknownTask } from './split.ts'
import { findTaskFile } from './taskfile.ts'

/** Never rejects: what goes wrong is shown, and becomes the status. */
export async function tasksCommand(argv: readonly string[], io: Io): Promise<number> {
  try {
    const line = splitCore(argv)
    const core = parseCore(line.core, io.env)
    if (core.version) return print(io, `${packageVersion()}\n`)
    if (core.help) return print(io, await helpFor(line, core, io))
    if (core.list) return await list(line, core, io)
    return await run(argv, line, core, io)
  } catch (error) {
    return showFailure(io, error, argv.includes('--debug'))
  }
}

function print(io: Io, text: string): 0 {
  io.out(text)
  return 0
}

const columnsOf = (io: Io) => Math.max(40, io.stdout.columns ?? 100)

async function list(line: CommandLine, core: CoreValues, io: Io): Promise<number> {
  const manifest = await describeTaskFile(findTaskFile(io.cwd, core.file))
  if (line.words.length > 0)
    throw new UsageError('bad-option', `--list takes no task: ${line.words.join(' ')}`, {
      next: `For one task: tasks ${line.words[0]} --help`,
    })
  return print(io, core.json ? listJson(manifest) : listText(manifest, columnsOf(io)))
}

async function helpFor(line: CommandLine, core: CoreValues, io: Io): Promise<string> {
  const typed = line.words.find((word) => !word.startsWith('-'))?.split(':', 1)[0]
  if (typed === undefined) return tasksHelp(columnsOf(io))
  const manifest = await describeTaskFile(findTaskFile(io.cwd, core.file))
  const tasks = new Map(manifest.tasks.map((task) => [task.name, task]))
  const found = taskNamed(tasks, typed)
  if (!found) {
    // Only the file itself knows of functions that are no tasks.
    const { functions } = await loadTaskFile(findTaskFile(io.cwd, core.file))
    throw unknownTask(typed, { names: [...tasks.keys()], functions })
  }
  return taskHelp(found[1], columnsOf(io))
}

async function run(argv: readonly string[], typed: CommandLine, core: CoreValues, io: Io): Promise<number> {
  const nearest = core.file === undefined ? nearestTaskFile(io.cwd) : findTaskFile(io.cwd, core.file)
  const projectDir = nearest === undefined ? io.cwd : dirname(nearest)
  const retried = core.retryFailed ? failedBefore(projectDir, typed) : undefined
  const line = retried?.line ?? typed
  const selection = retried ? { ...core.run.selection, hosts: retried.hosts } : core.run.selection

  const planned = await plan(line, selection?.hosts, core, io)
  if (!planned) return 2
  const options = {
    ...core.run,
    ...(selection ? { selection } : {}),
    projectDir,
    ...(await sandboxOptions(core, projectDir)),
  }
  return await runAndShow(
    {
      io,
      argv,
      version: packageVersion(),
      options,
      projectDir,
      json: core.json,
      ...(nearest === undefined ? {} : { taskFile: nearest }),
      ended: (failure) => rememberFailed(projectDir, line, failure),
    },
    planned,
  )
}

/** What is to be run, checked: all of it before the first call, so that a slip in the last one is found in time. */
async function plan(line: CommandLine, hosts: string[] | undefined, core: CoreValues, io: Io) {
  const { words, rest } = line
  if (words.length === 0 && rest && hosts) {
    const { runOnHosts } = await import('./adhoc.ts')
    return () => runOnHosts(hosts, rest)
  }
  const loaded = await loadTaskFile(findTaskFile(io.cwd, core.file))
  const calls = splitCalls(words, rest, { ...knownTasks(loaded.manifest), functions: loaded.functions })
  if (calls.length === 0) {
    io.err('No task was named, and the task file has no default one.\n\n')
    io.err(listText(loaded.manifest, columnsOf(io)))
    return undefined
  }
  const checked = calls.map(({ task: name, given }) => {
    const task = loaded.tasks.get(name)!
    return { task, values: givenValues(name, task.definition.params ?? {}, given) }
  })
  return async () => {
    for (const { task, values } of checked) await task(values as never)
  }
}

function knownTasks(manifest: Manifest): KnownTasks {
  const tasks = new Map(manifest.tasks.map((task) => [task.name, task]))
  return {
    find: (typed) => taskNamed(tasks, typed)?.[1],
    names: [...tasks.keys()],
    ...(manifest.default === undefined ? {} : { default: manifest.default }),
  }
}

/**
 * The sandbox's ssh configuration answers for every destination, and its emulator for Heroku, so the project's own
 * configuration runs against them. Where only the emulator is up, no host can be reached, and never a real one.
 */
async function sandboxOptions(
  core: CoreValues,
  projectDir: string,
): Promise<Pick<RunOptions, 'sshConfigFile' | 'sandbox' | 'herokuEnvironment'>> {
  if (!core.sandbox) return {}
  const { herokuState, sandboxSshConfig, sandboxState } = await import('../sandbox/index.ts')
  const heroku = await herokuState(projectDir)
  const onlyHeroku = heroku && !(await sandboxState(projectDir))
  return {
    sandbox: true,
    sshConfigFile: onlyHeroku ? heroku.sshConfigFile : await sandboxSshConfig(projectDir),
    ...(heroku ? { herokuEnvironment: { ...heroku.environment, SLIPWAY_STATE_HOME: heroku.stateHome } } : {}),
  }
}
