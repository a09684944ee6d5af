/** At most so many at once; the rest wait in order. */

export interface Gate {
  /** Resolves with the function that leaves again. Rejects when `signal` is aborted while waiting. */
  enter(signal?: AbortSignal): Promise<() => void>
  /** Enters at once, however many are inside; those that wait wait for it too. */
  push(): () => void
}

export function createGate(limit: number): Gate {
  let inside = 0
  const waiting: (() => void)[] = []
  const leave = () => {
    inside--
    if (inside < limit) waiting.shift()?.()
  }
  const entered = () => {
    inside++
    let left = false
    return () => {
      if (left) return
      left = true
      leave()
    }
  }
  return {
    push: entered,
    async enter(signal) {
      if (inside < limit) return entered()
      return await new Promise<() => void>((resolve, reject) => {
        const turn = () => {
          signal?.removeEventListener('abort', abort)
          resolve(entered())
        }
        const abort = () => {
          waiting.splice(waiting.indexOf(turn), 1)
          reject(signal?.reason)
        }
        if (signal?.aborted) return reject(signal.reason)
        signal?.addEventListener('abort', abort, { once: true })
        waiting.push(turn)
      })
    },
  }
}
