/** The options of `tasks` itself, one table: what the splitter, the parser, help and completion all read. */

export interface CoreOption {
  short?: string
  long: string
  /** What its value is called; undefined: it has none. */
  value?: string
  about: string
}

export const coreOptions: readonly CoreOption[] = [
  { short: 'l', long: 'list', about: 'List the tasks (with --json, as JSON)' },
  { short: 'h', long: 'help', about: 'Show this help, or that of the task before it' },
  { long: 'version', about: 'Show the version' },
  { short: 'f', long: 'file', value: 'FILE', about: 'The task file; otherwise the nearest tasks.ts, here or upward' },
  { short: 'n', long: 'dry-run', about: 'Run the tasks with every change held back and shown' },
  { long: 'plan', about: 'Print the steps of a change made of steps, with real values, and stop' },
  { short: 'y', long: 'yes', about: 'Answer yes to every confirmation' },
  { long: 'step', about: 'Ask before each change' },
  { short: 'q', long: 'quiet', about: 'Show only results, warnings and errors' },
  { short: 'v', long: 'verbose', about: 'Show quiet commands and timings too' },
  { long: 'debug', about: 'Show everything, with stack traces' },
  { long: 'json', about: 'Print events as JSON lines' },
  { short: 'H', long: 'hosts', value: 'HOSTS', about: 'Only these hosts: web1,db1 or web[1-40]' },
  { short: 'R', long: 'roles', value: 'ROLES', about: 'Only hosts with one of these roles' },
  { short: 'x', long: 'exclude', value: 'HOSTS', about: 'Not these hosts' },
  { short: 'P', long: 'parallel', about: 'Hosts at the same time, as tasks do unless they say otherwise' },
  { long: 'serial', about: 'One host after the other' },
  { short: 'z', long: 'pool-size', value: 'N', about: 'At most N hosts at the same time' },
  { short: 'S', long: 'ssh-config', value: 'FILE', about: 'The ssh configuration (also SLIPWAY_SSH_CONFIG)' },
  { long: 'sandbox', about: 'Run against the sandbox in place of the configured hosts' },
  { long: 'retry-failed', about: 'The last call that failed on some hosts again, on those hosts' },
  { long: 'keep-failed', about: 'Leave what a failed deploy uploaded, to look at' },
]

/** Whether a name, in either spelling, is one of `tasks`'s own options. */
export function isCoreOption(name: string): boolean {
  const wanted = name.replaceAll('_', '-')
  return coreOptions.some(({ long }) => long === wanted)
}
