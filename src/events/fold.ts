/** Many hosts told in few lines: their names, and how it went on each. Pure. */
import type { EventBody } from './events.ts'

/** How it went on one host. */
export type HostEnd = Extract<EventBody, { type: 'hosts.finished' }>['outcomes'][number]

/** Hosts of which the same is to be told, once. */
export interface FoldedHosts<T> {
  readonly hosts: readonly string[]
  /** Those of the hosts, in the same order. */
  readonly items: readonly T[]
}

/** `items` of hosts by what is told of each, in the order in which that came first. */
export function foldBy<T>(
  items: readonly T[],
  hostOf: (item: T) => string,
  told: (item: T) => string,
): FoldedHosts<T>[] {
  const folds = new Map<string, { hosts: string[]; items: T[] }>()
  for (const item of items) {
    const key = told(item)
    const fold = folds.get(key)
    if (fold) {
      fold.hosts.push(hostOf(item))
      fold.items.push(item)
    } else folds.set(key, { hosts: [hostOf(item)], items: [item] })
  }
  return [...folds.values()]
}

/** The sentence without its host's name, so that it can be compared with that of another host. */
const withoutHost = (sentence: string, host: string) => sentence.replaceAll(host, '<host>')

/** Columns that names are padded to at most. */
const widestNames = 40

/**
 * Hosts × outcome, one line for all that ended alike; failures last, so that they are next to the prompt.
 * `duration` says milliseconds.
 */
export function hostTable(ends: readonly HostEnd[], duration: (ms: number) => string): string[] {
  const rank = { ok: 0, 'not-begun': 1, failed: 2 }
  const told = ({ host, outcome, error = '' }: HostEnd) => `${rank[outcome]} ${withoutHost(error, host)}`
  const rows = foldBy(ends, ({ host }) => host, told).map(({ hosts, items }) => {
    const [first] = items as readonly [HostEnd]
    const longest = duration(items.reduce((most, { durationMs }) => Math.max(most, durationMs), 0))
    const error = hosts.length === 1 ? first.error : withoutHost(first.error ?? '', first.host)
    const texts = {
      ok: `ok, ${hosts.length === 1 ? '' : 'up to '}${longest}`,
      'not-begun': 'not begun',
      failed: `failed: ${error}`,
    }
    return { names: foldNames(hosts), rank: rank[first.outcome], text: texts[first.outcome] }
  })
  const width = Math.min(
    widestNames,
    ...rows
      .map(({ names }) => names.length)
      .sort((a, b) => b - a)
      .slice(0, 1),
  )
  return rows.sort((a, b) => a.rank - b.rank).map(({ names, text }) => `${names.padEnd(width)}  ${text}`)
}

/**
 * `web1, web2, web3` as `web[1-3]`, `10.0.0.7, 10.0.0.8` as `10.0.0.[7-8]`: runs of numbers at the end of a name,
 * before its first dot, or at the end of an address; a user before it and a port after it stay.
 */
export function foldNames(names: readonly string[]): string {
  const groups = new Map<string, { before: string; after: string; numbers: { value: number; text: string }[] }>()
  for (const name of names) {
    const [, before = '', number, after = ''] = numbered.exec(name) ?? [undefined, name, undefined, '']
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

const numbered = /^((?:[^@]*@)?(?:(?:\d+\.){3}|[^.\d:[][^.:]*?))(\d+)((?:[.:].*)?)$/
