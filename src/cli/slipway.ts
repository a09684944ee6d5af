/** The `slipway` command: the tool beside the tasks. Each of its commands is loaded when it is called. */
import { Command, CommanderError, Option } from 'commander'
import { UsageError } from '../events/errors.ts'
import type { DoctorOptions } from './doctor/doctor.ts'
import { misuse, showFailure } from './failure.ts'
import type { InitOptions } from './init/init.ts'
import type { Io } from './io.ts'
import { packageVersion } from './package.ts'
import type { SshOptions } from './ssh.ts'
import { type ToolCommand, toolCommands } from './tool-commands.ts'

/** Never rejects: what goes wrong is shown, and becomes the status. */
export async function slipwayCommand(argv: readonly string[], io: Io): Promise<number> {
  let status = 0
  const program = slipwayProgram(io, (result) => {
    status = result
  })
  try {
    if (argv.length === 0) {
      program.outputHelp()
      return 2
    }
    await program.parseAsync([...argv], { from: 'user' })
    return status
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    const called = program.commands.find((command) => command.name() === argv[0])
    const name = called ? `slipway ${called.name()}` : 'slipway'
    return showFailure(io, error instanceof CommanderError ? misuse(error, name) : error, argv.includes('--debug'))
  }
}

/** All commands, with their help. `done` gets the exit status of the one that was called. */
export function slipwayProgram(io: Io, done: (status: number) => void): Command {
  const program = new Command('slipway')
    .description('The tool beside `tasks`: sets up, checks, rehearses, and looks back.')
    .version(packageVersion(), '--version', 'Show the version')
    .helpOption('-h, --help', 'Show help')
    .helpCommand(false)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: io.out,
      writeErr: () => {},
      getOutHelpWidth: () => Math.max(40, io.stdout.columns ?? 100),
    })

  const add = (usage: string, examples: readonly string[]) =>
    program
      .command(usage)
      .description(toolCommands[usage.split(' ')[0] as ToolCommand])
      .addHelpText('after', `\nExamples:\n${examples.map((example) => `  ${example}`).join('\n')}`)

  add('init', [
    'slipway init                       for a host of your own',
    'slipway init --host web1           an alias of ~/.ssh/config, or user@host',
    'slipway init --target heroku',
  ])
    .addOption(new Option('-t, --target <TARGET>', 'Where it will run').choices(['vps', 'heroku']).default('vps'))
    .option('--host <HOST>', 'The ssh destination of your host')
    .option('--templates', 'Also copy the templates that are rendered onto hosts, to change them')
    .action(async (options: InitOptions) => done((await import('./init/init.ts')).initCommand(options, io)))

  add('doctor', [
    'slipway doctor                     everything, hosts too',
    'slipway doctor --local             only this machine and the configuration',
    'slipway doctor --json              for a program; exit status 1 where something has to be put right',
  ])
    .option('--local', 'Only this machine and the configuration')
    .option('--json', 'As JSON')
    .option('-S, --ssh-config <FILE>', 'The ssh configuration (also SLIPWAY_SSH_CONFIG)')
    .option('--sandbox', 'The sandbox in place of the configured hosts')
    .action(async (options: DoctorOptions) =>
      done(await (await import('./doctor/doctor.ts')).doctorCommand(options, io)),
    )

  program
    .command('sandbox')
    .description(toolCommands.sandbox)
    .argument('[words...]')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (words: string[]) => done(await (await import('../sandbox/index.ts')).sandboxCommand(words, io.out)))

  add('ssh [where] [command...]', [
    'slipway ssh                      the only host of config/deploy.ini',
    'slipway ssh staging              the first host of a deployment',
    'slipway ssh web1 -- uptime       a command, with a terminal',
    'slipway ssh staging --sandbox    the sandbox in its place',
  ])
    .option('-S, --ssh-config <FILE>', 'The ssh configuration (also SLIPWAY_SSH_CONFIG)')
    .option('--sandbox', 'The sandbox in place of the configured hosts')
    .action(async (where: string | undefined, words: string[], options: SshOptions) =>
      done(await (await import('./ssh.ts')).sshCommand(where, words, options, io)),
    )

  add('run <deployment> [command...]', [
    'slipway run staging -- env',
    'slipway run production --sandbox -- python3 -m pony.migrate --list',
  ])
    .option('-S, --ssh-config <FILE>', 'The ssh configuration (also SLIPWAY_SSH_CONFIG)')
    .option('--sandbox', 'The sandbox in place of the configured hosts')
    .action(async (deployment: string, words: string[], options: SshOptions) =>
      done(await (await import('./ssh.ts')).runCommand(deployment, words, options, io)),
    )

  add('history', [
    'slipway history                  who ran what, when, and how it ended',
    'slipway history -c 5 --json      the last five, for a program',
  ])
    .option('-c, --count <N>', 'How many', wholeNumber, 20)
    .option('--json', 'As JSON')
    .action(async (options: { json?: boolean; count: number }) =>
      done((await import('./history.ts')).historyCommand(options, io)),
    )

  add('show [run]', [
    'slipway show                     the last run',
    'slipway show 3fa9c1 --verbose    with quiet commands and timings',
  ])
    .option('-v, --verbose', 'With quiet commands and timings')
    .option('--json', 'Its events as JSON lines')
    .action(async (run: string | undefined, options: { verbose?: boolean; json?: boolean }) =>
      done((await import('./history.ts')).showCommand(run, options, io)),
    )

  add('report [run]', [
    'slipway report                   the last run, as slipway-<run>.html',
    'slipway report 3fa9c1 -o run.html',
  ])
    .option('-o, --output <FILE>', 'Where to write it; - is stdout')
    .action(async (run: string | undefined, options: { output?: string }) =>
      done((await import('./history.ts')).reportCommand(run, options, io)),
    )

  add('completion [shell]', [
    'eval "$(slipway completion bash)"           in ~/.bashrc',
    'eval "$(slipway completion zsh)"            in ~/.zshrc',
    'slipway completion fish | source            in ~/.config/fish/config.fish',
  ]).action(async (shell: string | undefined) => done((await import('./completion.ts')).completionCommand(shell, io)))

  add('help [topic]', ['slipway help', 'slipway help dry-run']).action(async (topic: string | undefined) => {
    const { helpText } = await import('./help-topics.ts')
    io.out(topic !== undefined && topic in toolCommands ? commandHelp(program, topic) : helpText(topic))
  })

  return program
}

function commandHelp(program: Command, name: string): string {
  return program.commands.find((command) => command.name() === name)?.helpInformation() ?? program.helpInformation()
}

function wholeNumber(text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number > 0) return number
  throw new UsageError('bad-value', `"${text}" is not a number above 0`, { next: 'For example: slipway history -c 5' })
}
