/** The `slipway` command: the tool beside the tasks. Each of its commands is loaded when it is called. */
import { asSlipwayError, UsageError } from '../events/errors.ts'
import { didYouMean } from '../tasks/suggest.ts'
import type { Io } from './io.ts'
import { packageVersion } from './package.ts'
import { showFailure } from './tasks.ts'

interface ToolCommand {
  about: string
  run(argv: readonly string[], io: Io): Promise<number>
}

const commands: Record<string, ToolCommand> = {}

/** Never rejects. */
export async function slipwayCommand(argv: readonly string[], io: Io): Promise<number> {
  try {
    const [name, ...rest] = argv
    if (name === '--version') {
      io.out(`${packageVersion()}\n`)
      return 0
    }
    if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
      io.out(overview())
      return name === undefined ? 2 : 0
    }
    const command = commands[name]
    if (!command) {
      throw new UsageError('unknown-command', `slipway has no command "${name}"`, {
        next: didYouMean(name, Object.keys(commands)) ?? 'See `slipway --help`.',
      })
    }
    return await command.run(rest, io)
  } catch (error) {
    return showFailure(io, asSlipwayError(error), argv.includes('--debug'))
  }
}

function overview(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length))
  const lines = Object.entries(commands).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`)
  return `slipway: the tool beside \`tasks\`.\n\n${lines.join('\n')}\n`
}
