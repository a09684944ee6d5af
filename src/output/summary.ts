/** How a run went on several hosts, and what it changed where: the closing lines. Fed with events; knows nothing of how it is shown. */
import type { RunEvent } from '../events/events.ts'
import { foldBy, foldNames, type HostEnd, hostTable } from '../events/fold.ts'
import { duration, plural, printable } from './text.ts'

export interface Summary {
  event(event: RunEvent): void
  /** `web[1-3]  ok, up to 1.2 s`, then `changed on web[1-3]: current → 20261127-101500-ab12, restarted app`. */
  lines(): string[]
}

const shownPerHost = 6

export function createSummary(): Summary {
  const changes = new Map<string, string[]>()
  const heldBack = new Map<string, number>()
  const ends = new Map<string, HostEnd>()
  let tableShown = false
  const warnings = { count: 0 }
  return {
    event(event) {
      if (event.type === 'changed') {
        const host = event.host ?? ''
        const whats = changes.get(host) ?? []
        if (!whats.includes(event.what)) changes.set(host, [...whats, event.what])
      } else if (event.type === 'held-back') heldBack.set(event.host, (heldBack.get(event.host) ?? 0) + 1)
      else if (event.type === 'hosts.finished')
        for (const end of event.outcomes) ends.set(end.host, both(ends.get(end.host), end))
      // Its detail is the table of the hosts that it is about.
      else if (event.type === 'error' && event.error.code === 'hosts-failed') tableShown = true
      else if (event.type === 'warning') warnings.count++
    },
    lines() {
      const lines = tableShown ? [] : hostTable([...ends.values()], duration).map(printable)
      const whatChanged = ([, whats]: readonly [string, string[]]) => {
        const more = whats.length - shownPerHost
        return whats.slice(0, shownPerHost).join(', ') + (more > 0 ? `, and ${more} more` : '')
      }
      for (const [names, what] of byHosts(changes, whatChanged))
        lines.push(`${names === '' ? 'changed' : `changed on ${names}`}: ${what}`)
      for (const [names, what] of byHosts(heldBack, ([, count]) => plural(count, 'change')))
        lines.push(`held back on ${names}: ${what}`)
      if (warnings.count > 0) lines.push(plural(warnings.count, 'warning'))
      return lines
    },
  }
}

function byHosts<T>(of: ReadonlyMap<string, T>, told: (entry: readonly [string, T]) => string): [string, string][] {
  const folds = foldBy(
    [...of],
    ([host]) => host,
    (entry) => `${entry[0] === ''} ${told(entry)}`,
  )
  return folds.map(({ hosts, items }) => [foldNames(hosts), told(items[0] as readonly [string, T])])
}

/** A run may call for the same host more than once: it failed there if it ever did. */
function both(before: HostEnd | undefined, now: HostEnd): HostEnd {
  if (!before || before.outcome === 'not-begun') return now
  const durationMs = before.durationMs + now.durationMs
  return { ...(before.outcome === 'failed' ? before : now.outcome === 'not-begun' ? before : now), durationMs }
}
