/** Ctrl-C, and what CI systems send when they cancel: the first aborts the run, which then lets go; the second leaves. */
import { AbortedError } from '../events/errors.ts'

export interface Interrupts {
  signal: AbortSignal
  /** Aborts as an interruption would. */
  abort(reason: string): void
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
    abort: (reason) => controller.abort(new AbortedError(reason)),
    dispose() {
      for (const signal of signals) process.off(signal, handler)
    },
  }
}
