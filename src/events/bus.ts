/** What the events of a run go over. */
import type { RunEvent } from './events.ts'

export type Listener = (event: RunEvent) => void

/** Hands each event to every listener, in order, synchronously. A listener that throws is dropped, not the run. */
export interface Bus {
  emit(event: RunEvent): void
  /** Returns the function that unsubscribes. */
  on(listener: Listener): () => void
}

export function createBus(): Bus {
  const listeners = new Set<Listener>()
  return {
    emit(event) {
      for (const listener of listeners) {
        try {
          listener(event)
        } catch (error) {
          listeners.delete(listener)
          process.emitWarning(`an event listener failed and was removed: ${String(error)}`)
        }
      }
    },
    on(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
