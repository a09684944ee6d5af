/** Questions at the terminal, by @clack/prompts, loaded with the first one. Without a terminal every question is refused. */
import { abortedBy, SlipwayError } from '../events/errors.ts'
import type { Prompter, RunOptions } from '../events/run.ts'
import { noPrompter } from '../events/run.ts'
import type { Interrupts } from './interrupt.ts'
import type { Io } from './io.ts'

/** Ctrl-C at a question aborts `interrupts`. `pause` keeps what draws on the terminal away while a question is there. */
export function createPrompter(
  io: Io,
  options: RunOptions,
  interrupts: Pick<Interrupts, 'signal' | 'abort'>,
  pause: () => () => void = () => () => {},
): Prompter {
  const yes = options.yes === true
  // Questions are shown on stderr: stdout is for results.
  if (!io.stdin.isTTY || !io.stderr.isTTY) {
    return { ...noPrompter, pause, confirm: async (message) => yes || noPrompter.confirm(message) }
  }
  type Clack = typeof import('@clack/prompts')
  type Question<T> = (clack: Clack, at: { output: NodeJS.WriteStream; signal: AbortSignal }) => Promise<T>
  const { signal } = interrupts
  // One question at a time, however many hosts have one.
  let last: Promise<unknown> = Promise.resolve()
  const asking = <T>(question: Question<T>): Promise<Exclude<T, symbol>> => {
    const mine = last.then(() => askNow(question))
    last = mine.catch(() => {})
    return mine
  }
  const askNow = async <T>(question: Question<T>): Promise<Exclude<T, symbol>> => {
    const clack = await import('@clack/prompts')
    if (signal.aborted) throw abortedBy(signal)
    const goOn = pause()
    // A signal of its own: clack never stops listening to it, and would close again what was answered long ago.
    const closing = new AbortController()
    const close = () => closing.abort()
    signal.addEventListener('abort', close, { once: true })
    try {
      const answer = await question(clack, { output: process.stderr, signal: closing.signal })
      if (typeof answer !== 'symbol') return answer as Exclude<T, symbol>
      // So clack answers Ctrl-C, which reaches no one else as it reads in raw mode.
      interrupts.abort('interrupted at a question')
      throw abortedBy(signal)
    } finally {
      signal.removeEventListener('abort', close)
      goOn()
    }
  }
  return {
    interactive: true,
    pause,
    confirm: async (message) => yes || asking(({ confirm }, at) => confirm({ message, initialValue: false, ...at })),
    async confirmTyped(message, expected) {
      const typed = await asking(({ text }, at) => text({ message, placeholder: expected, ...at }))
      if (typed.trim() === expected) return true
      throw new SlipwayError('not-confirmed', `"${typed}" is not "${expected}"`, { state: 'Nothing was changed.' })
    },
    text: (message, { initial } = {}) =>
      asking(({ text }, at) => text({ message, ...at, ...(initial === undefined ? {} : { initialValue: initial }) })),
    password: (message) => asking(({ password }, at) => password({ message, ...at })),
  }
}
