/** At most so many at once; the rest wait in order. */

export interface Gate {
  /** Resolves with the function that leaves again. Rejects when `signal` is aborted while waiting. */
  enter(signal?: AbortSignal): Promise<() => void>
}

export function createGate(limit: number): Gate {
  let inside = 0
  const waiting: (() => void)[] = []
  const leave = () => {
    inside--
    waiting.shift()?.()
  }
  return {
    async enter(signal) {
      if (inside >= limit) {
        await new Promise<void>((resolve, reject) => {
          const turn = () => {
            signal?.removeEventListener('abort', abort)
            resolve()
          }
          const abort = () => {
            waiting.splice(waiting.indexOf(turn), 1)
            reject(signal?.reason)
          }
          if (signal?.aborted) return reject(signal.reason)
          signal?.addEventListener('abort', abort, { once: true })
          waiting.push(turn)
        })
      }
      inside++
      let left = false
      return () => {
        if (left) return
        left = true
        leave()
      }
    },
  }
}
