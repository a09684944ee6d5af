/** commander's part: the core options as values, and the help texts. */
import { createRequire } from 'node:module'
import type { Command, Help } from 'commander'
import { UsageError } from '../events/errors.ts'
import type { RunOptions, Selection } from '../events/run.ts'
import { unfoldNames } from '../events/unfold.ts'
import type { TaskInfo } from '../tasks/collect.ts'
import { misuse } from './failure.ts'
import { coreOptions } from './options.ts'

// Required, not imported: the loader reads CommonJS twice when it is imported, which costs every start ten milliseconds.
const commander = createRequire(import.meta.url)('commander') as typeof import('commander')

export interface CoreValues {
  list?: true
  help?: true
  version?: true
  file?: string
  json?: true
  sandbox?: true
  retryFailed?: true
  run: RunOptions
}

const listOf = (value: string, before: string[] = []) => [...before, ...unfoldNames(value)]

function coreCommand(): Command {
  const command = new commander.Command('tasks')
    .helpOption(false)
    .allowExcessArguments()
    .exitOverride()
    .configureOutput({ writeErr() {} })
  for (const { short, long, value, about } of coreOptions) {
    const flags = `${short ? `-${short}, ` : '    '}--${long}${value ? ` <${value}>` : ''}`
    const option = new commander.Option(flags.trim(), about)
    command.addOption(value === 'HOSTS' || value === 'ROLES' ? option.argParser(listOf) : option)
  }
  return command
}

/** Throws a UsageError. */
export function parseCore(tokens: readonly string[], env: NodeJS.ProcessEnv): CoreValues {
  const command = coreCommand()
  try {
    command.parse([...tokens], { from: 'user' })
  } catch (error) {
    if (!(error instanceof commander.CommanderError)) throw error
    throw misuse(error, 'tasks')
  }
  const options = command.opts<Record<string, true | string | string[]>>()
  const flag = (name: string) => (options[name] === true ? (true as const) : undefined)
  const text = (name: string) => options[name] as string | undefined
  if (flag('step') && flag('yes'))
    throw new UsageError('bad-option', '--step asks, and --yes answers: they exclude each other', {
      next: 'Leave one of them out.',
    })
  const run: RunOptions = defined({
    dryRun: flag('dryRun'),
    planOnly: flag('plan'),
    yes: flag('yes'),
    step: flag('step'),
    keepFailed: flag('keepFailed'),
    verbosity: flag('debug') ? 'debug' : flag('verbose') ? 'verbose' : flag('quiet') ? 'quiet' : 'normal',
    sshConfigFile: text('sshConfig') ?? (env['SLIPWAY_SSH_CONFIG'] || undefined),
    selection: selectionOf(options),
  })
  return defined({
    list: flag('list'),
    help: flag('help'),
    version: flag('version'),
    file: text('file'),
    json: flag('json'),
    sandbox: flag('sandbox'),
    retryFailed: flag('retryFailed'),
    run,
  })
}

function selectionOf(options: Record<string, unknown>): Selection | undefined {
  if (options['parallel'] && options['serial'])
    throw new UsageError('bad-option', '--parallel and --serial exclude each other', {
      next: 'Leave one of them out.',
    })
  const selection: Selection = defined({
    hosts: options['hosts'] as string[] | undefined,
    roles: options['roles'] as string[] | undefined,
    exclude: options['exclude'] as string[] | undefined,
    parallel: options['serial'] ? false : options['parallel'] ? true : undefined,
    poolSize: poolSize(options['poolSize'] as string | undefined),
  })
  return Object.keys(selection).length > 0 ? selection : undefined
}

function poolSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const size = Number(text)
  if (Number.isInteger(size) && size > 0) return size
  throw new UsageError('bad-value', `--pool-size: "${text}" is not a number of hosts`, { next: 'For example: -z 10' })
}

/** Without the properties that are undefined. */
function defined<T extends object>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
}

const examples = `
Examples:
  tasks                                   run the default task
  tasks --list                            what there is to run
  tasks start_app:release=staging         parameters in one word, as in Fabric
  tasks start_app --release staging       or as options
  tasks rsync_code install_app            several tasks, one after the other
  tasks deploy_staging --dry-run          show what it would change
  tasks deploy_staging --sandbox          rehearse it on this machine

Exit status: 0 done, 1 a task failed, 2 used wrongly, 130 interrupted; a one-off command's own status.
\`slipway help\` has more: slipway help tasks, slipway help hosts, slipway help dry-run.
`

export function tasksHelp(columns: number): string {
  const command = coreCommand().usage('[options] [task[:name=value,…] [--name value] …] [-- words]')
  command.description('Run the tasks of the task file: the nearest tasks.ts, here or upward.')
  command.addHelpText('after', examples)
  return help(command, columns)
}

/** What `tasks <task> --help` shows. */
export function taskHelp(task: TaskInfo, columns: number): string {
  const required = task.params.filter((param) => param.required)
  const rest = task.params.find((param) => param.kind === 'rest')
  const command = new commander.Command(`tasks ${task.name}`).helpOption(false).description(task.about)
  command.usage(
    [
      ...required.map((param) => `--${param.name} <${param.placeholder}>`),
      '[options]',
      ...(rest ? ['-- words'] : []),
    ].join(' '),
  )
  for (const param of task.params) {
    if (param.kind === 'rest') continue
    const about = [param.help, param.required ? 'required' : undefined].filter(Boolean).join('; ')
    const option = new commander.Option(
      `--${param.name}${param.kind === 'flag' ? '' : ` <${param.placeholder}>`}`,
      about,
    )
    if (param.choices && param.choices.length > 0 && param.choices.join('|') !== param.placeholder)
      option.choices(param.choices)
    command.addOption(option)
  }
  const values = (
    required.length > 0 ? required : task.params.filter((param) => param.kind === 'value').slice(0, 1)
  ).map((param) => [param.name, param.choices?.[0] ?? `<${param.placeholder}>`] as const)
  const words = rest ? ' -- <words>' : ''
  const forms = [
    `tasks ${task.name}${values.length > 0 ? `:${values.map((pair) => pair.join('=')).join(',')}` : ''}${words}`,
    ...(values.length > 0
      ? [`tasks ${task.name} ${values.map(([name, value]) => `--${name} ${value}`).join(' ')}${words}`]
      : []),
    `tasks ${task.name}${values.length > 0 ? `:${values.map((pair) => pair.join('=')).join(',')}` : ''} --dry-run${words}`,
  ]
  command.addHelpText('after', `\nExamples:\n${forms.map((form) => `  ${form}`).join('\n')}\n`)
  return help(command, columns)
}

function help(command: Command, columns: number): string {
  let text = ''
  command.configureHelp({ helpWidth: columns, sortOptions: false } satisfies Partial<Help>)
  command.configureOutput({
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => columns,
    getOutHasColors: () => false,
  })
  command.outputHelp()
  return text
}
