/** What a run changed, and where: the closing lines. Fed with events; knows nothing of how it is shown. */
import type { RunEvent } from '../events/events.ts'
import { plural } from './text.ts'

export interface Summary {
  event(event: RunEvent): void
  /** `web1: current → 20261127-101500-ab12, restarted app`, one a host. */
  lines(): string[]
}

const shownPerHost = 6

export function createSummary(): Summary {
  const changes = new Map<string, string[]>()
  const heldBack = new Map<string, number>()
  const warnings = { count: 0 }
  return {
    event(event) {
      if (event.type === 'changed') {
        const host = event.host ?? ''
        const whats = changes.get(host) ?? []
        if (!whats.includes(event.what)) changes.set(host, [...whats, event.what])
      } else if (event.type === 'held-back') heldBack.set(event.host, (heldBack.get(event.host) ?? 0) + 1)
      else if (event.type === 'warning') warnings.count++
    },
    lines() {
      const lines = [...changes].map(([host, whats]) => {
        const more = whats.length - shownPerHost
        const shown = whats.slice(0, shownPerHost).join(', ') + (more > 0 ? `, and ${more} more` : '')
        return `${host === '' ? 'changed' : `changed on ${host}`}: ${shown}`
      })
      for (const [host, count] of heldBack) lines.push(`held back on ${host}: ${plural(count, 'change')}`)
      if (warnings.count > 0) lines.push(plural(warnings.count, 'warning'))
      return lines
    },
  }
}
