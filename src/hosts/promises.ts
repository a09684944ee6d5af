import { abortedBy } from '../events/errors.ts'

/** A promise that is settled from outside; `Promise.withResolvers` is not in every Node that this runs on. */
export interface PromiseWithResolvers<T> {
  promise: Promise<T>
  resolve: (value: T) => void
}

/** A promise, and what resolves it. */
export function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/** Resolves once what has happened has been told. */
export const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** What `promise` resolves with, or undefined after `ms`. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** `promise`, or the reason of `signal` as soon as it is aborted; what then still comes is given to `drop`. */
export async function orAborted<T>(
  signal: AbortSignal | undefined,
  promise: Promise<T>,
  drop: (late: T) => void = () => {},
): Promise<T> {
  if (!signal) return promise
  let over = false
  promise.then(
    (late) => over && drop(late),
    () => {},
  )
  let stop = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => {
      over = true
      reject(abortedBy(signal))
    }
  })
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  try {
    return await Promise.race([aborted, promise])
  } finally {
    signal.removeEventListener('abort', stop)
    aborted.catch(() => {})
  }
}
