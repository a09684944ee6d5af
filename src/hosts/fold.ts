/** What many hosts said, each different answer once. Pure. */
import type { Host, HostOutcome } from './host.ts'

export interface Fold {
  /** Hosts that said this, in the order in which they were given. */
  readonly hosts: readonly string[]
  readonly ok: boolean
  readonly text: string
}

/**
 * Outcomes grouped by what `textOf` makes of a value (its `stdout` unless given) or by the error's message without the
 * host's name; the largest group first, failures last.
 */
export function foldOutcomes<T>(
  outcomes: ReadonlyMap<Host, HostOutcome<T>>,
  textOf: (value: T) => string = defaultText,
): Fold[] {
  const folds = new Map<string, { hosts: string[]; ok: boolean; text: string }>()
  for (const [host, outcome] of outcomes) {
    const text = (outcome.ok ? textOf(outcome.value) : outcome.error.message.replaceAll(host.name, '<host>')).trimEnd()
    const key = `${outcome.ok}\0${text}`
    const fold = folds.get(key)
    if (fold) fold.hosts.push(host.name)
    else folds.set(key, { hosts: [host.name], ok: outcome.ok, text })
  }
  return [...folds.values()].sort((a, b) => Number(b.ok) - Number(a.ok) || b.hosts.length - a.hosts.length)
}

function defaultText(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'object' && value !== null && 'stdout' in value) return String(value.stdout)
  return value === undefined ? '' : JSON.stringify(value)
}

/** `web1, web2, web3` as `web[1-3]`: runs of numbers at the end of a name, or before its first dot. */
export function foldNames(names: readonly string[]): string {
  const groups = new Map<string, { before: string; after: string; numbers: { value: number; text: string }[] }>()
  for (const name of names) {
    const [, before = '', number, after = ''] = /^([^.\d][^.]*?)(\d+)((?:\..*)?)$/.exec(name) ?? [
      undefined,
      name,
      undefined,
      '',
    ]
    // Numbers of different width are different names: web01 is not web1.
    const width = number === undefined ? '' : number.startsWith('0') ? String(number.length) : 'n'
    const key = `${before}\0${after}\0${width}`
    const group = groups.get(key) ?? { before, after, numbers: [] }
    if (number !== undefined) group.numbers.push({ value: Number(number), text: number })
    groups.set(key, group)
  }
  return [...groups.values()]
    .map(({ before, after, numbers }) => {
      if (numbers.length === 0) return `${before}${after}`
      const sorted = numbers.sort((a, b) => a.value - b.value)
      const runs: { first: string; last: string; end: number }[] = []
      for (const { value, text } of sorted) {
        const run = runs.at(-1)
        if (run && value === run.end + 1) {
          run.last = text
          run.end = value
        } else runs.push({ first: text, last: text, end: value })
      }
      const inside = runs.map((run) => (run.first === run.last ? run.first : `${run.first}-${run.last}`)).join(',')
      return sorted.length === 1 ? `${before}${inside}${after}` : `${before}[${inside}]${after}`
    })
    .join(', ')
}
