/** Questions at the terminal, by @clack/prompts, loaded with the first one. Without a terminal every question is refused. */
import { AbortedError, SlipwayError } from '../events/errors.ts'
import type { Prompter, RunOptions } from '../events/run.ts'
import { noPrompter } from '../events/run.ts'
import type { Io } from './io.ts'

/** `pause` keeps what draws on the terminal away while a question is there. */
export function createPrompter(io: Io, options: RunOptions, pause: () => () => void = () => () => {}): Prompter {
  const yes = options.yes === true
  // Questions are shown on stderr: stdout is for results.
  if (!io.stdin.isTTY || !io.stderr.isTTY) {
    return { ...noPrompter, pause, confirm: async (message) => yes || noPrompter.confirm(message) }
  }
  type Clack = typeof import('@clack/prompts')
  // One question at a time, however many hosts have one.
  let last: Promise<unknown> = Promise.resolve()
  const asking = <T>(question: (clack: Clack) => Promise<T>): Promise<Exclude<T, symbol>> => {
    const mine = last.then(() => askNow(question))
    last = mine.catch(() => {})
    return mine
  }
  const askNow = async <T>(question: (clack: Clack) => Promise<T>): Promise<Exclude<T, symbol>> => {
    const clack = await import('@clack/prompts')
    const goOn = pause()
    try {
      return answered(await question(clack))
    } finally {
      goOn()
    }
  }
  const output = process.stderr
  return {
    interactive: true,
    pause,
    confirm: async (message) => yes || asking(({ confirm }) => confirm({ message, initialValue: false, output })),
    async confirmTyped(message, expected) {
      const typed = await asking(({ text }) => text({ message, placeholder: expected, output }))
      if (typed.trim() === expected) return true
      throw new SlipwayError('not-confirmed', `"${typed}" is not "${expected}"`, { state: 'Nothing was changed.' })
    },
    text: (message, { initial } = {}) =>
      asking(({ text }) => text({ message, output, ...(initial === undefined ? {} : { initialValue: initial }) })),
    password: (message) => asking(({ password }) => password({ message, output })),
  }
}

/** clack answers Ctrl-C with a symbol. */
function answered<T>(answer: T): Exclude<T, symbol> {
  if (typeof answer === 'symbol') throw new AbortedError('interrupted at a question')
  return answer as Exclude<T, symbol>
}
