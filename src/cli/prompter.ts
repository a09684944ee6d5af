/** Questions at the terminal, by @clack/prompts, loaded with the first one. Without a terminal every question is refused. */
import { AbortedError, SlipwayError } from '../events/errors.ts'
import type { Prompter, RunOptions } from '../events/run.ts'
import { noPrompter } from '../events/run.ts'
import type { Io } from './io.ts'

export function createPrompter(io: Io, options: RunOptions): Prompter {
  const yes = options.yes === true
  // Questions are shown on stderr: stdout is for results.
  if (!io.stdin.isTTY || !io.stderr.isTTY) {
    return { ...noPrompter, confirm: async (message) => yes || noPrompter.confirm(message) }
  }
  const clack = () => import('@clack/prompts')
  const output = process.stderr
  return {
    interactive: true,
    async confirm(message) {
      if (yes) return true
      const { confirm } = await clack()
      return answered(await confirm({ message, initialValue: false, output }))
    },
    async confirmTyped(message, expected) {
      const { text } = await clack()
      const typed = answered(await text({ message, placeholder: expected, output }))
      if (typed.trim() === expected) return true
      throw new SlipwayError('not-confirmed', `"${typed}" is not "${expected}"`, { state: 'Nothing was changed.' })
    },
    async text(message, { initial } = {}) {
      const { text } = await clack()
      return answered(await text({ message, output, ...(initial === undefined ? {} : { initialValue: initial }) }))
    },
    async password(message) {
      const { password } = await clack()
      return answered(await password({ message, output }))
    },
  }
}

/** clack answers Ctrl-C with a symbol. */
function answered<T>(answer: T): Exclude<T, symbol> {
  if (typeof answer === 'symbol') throw new AbortedError('interrupted at a question')
  return answer as Exclude<T, symbol>
}
