/** Durations as people write them. */
import { UsageError } from '../events/errors.ts'

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `'30s'`, `'2m'`, `'1h30m'`, `'250ms'` or a number of milliseconds, in milliseconds. Throws a UsageError otherwise. */
export function milliseconds(duration: string | number): number {
  if (typeof duration === 'number') {
    if (Number.isFinite(duration) && duration >= 0) return duration
  } else {
    const text = duration.trim()
    if (/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
      return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)].reduce(
        (sum, [, amount, unit]) => sum + Number(amount) * (units[unit as string] as number),
        0,
      )
    }
  }
  throw new UsageError('bad-duration', `${JSON.stringify(duration)} is not a duration`, {
    next: 'Write it like 30s, 2m, 1h30m, 250ms, or as a number of milliseconds.',
  })
}

/** A duration for people: `0.3 s`, `12 s`, `2 min 5 s`. */
export function humanDuration(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}
