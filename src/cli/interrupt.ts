/** Ctrl-C, and what CI systems send when they cancel: the first aborts the run, which then lets go; the second leaves. */
import { AbortedError, type SlipwayError } from '../events/errors.ts'
import { asSlipwayError } from '../events/foreign.ts'

export interface Interrupts {
  signal: AbortSignal
  /** Aborts as an interruption would. */
  abort(reason: string | SlipwayError): void
  /** Stops listening. */
  dispose(): void
}

export function listenForInterrupts(say: (text: string) => void): Interrupts {
  const controller = new AbortController()
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const handler = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(130)
    say('\ninterrupted: ending what runs on the hosts; once more leaves at once\n')
    controller.abort(new AbortedError(signal === 'SIGINT' ? 'interrupted' : `interrupted by ${signal}`))
  }
  for (const signal of signals) process.on(signal, handler)
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(typeof reason === 'string' ? new AbortedError(reason) : reason),
    dispose() {
      for (const signal of signals) process.off(signal, handler)
    },
  }
}

/** Errors that nothing waits for: a missing `await`, mostly. The first one ends the run, in order, as its failure. */
export function listenForForgotten(found: (error: SlipwayError) => void): {
  first(): SlipwayError | undefined
  dispose(): void
} {
  let first: SlipwayError | undefined
  const handler = (thrown: unknown) => {
    const error = asSlipwayError(thrown)
    // What an interruption rejects is its consequence, whether awaited or not.
    if (first || error.code === 'aborted') return
    first = error
    found(error)
  }
  process.on('unhandledRejection', handler)
  process.on('uncaughtException', handler)
  return {
    first: () => first,
    dispose() {
      process.off('unhandledRejection', handler)
      process.off('uncaughtException', handler)
    },
  }
}
