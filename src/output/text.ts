/** Small pieces of text that every way of showing shares. Pure. */
import type { EventBody } from '../events/events.ts'

/** `850 ms`, `3.2 s`, `2 min 5 s`, `1 h 3 min` */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}

/** `812 B`, `4.1 kB`, `12 MB` */
export function bytes(count: number): string {
  if (count < 1000) return `${count} B`
  let value = count
  for (const unit of ['kB', 'MB', 'GB', 'TB']) {
    value /= 1000
    if (value < 999.5 || unit === 'TB') return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`
  }
  return ''
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** `deploy_staging`, `start_app release=staging` */
export function taskTitle(event: Extract<EventBody, { type: 'task.started' }>): string {
  const params = Object.entries(event.params).map(
    ([name, value]) => `${name}=${/\s/.test(value) ? JSON.stringify(value) : value}`,
  )
  return [event.name, ...params].join(' ')
}

/** Without escape sequences and control characters, which other machines' output may hold; tabs stay. */
export function printable(text: string): string {
  if (!control.test(text)) return text
  return text
    .replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\?)|[@-Z\\-_])/g, '')
    .replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '')
}

const control = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/

/** A line as a terminal would leave it: what follows the last carriage return. */
export function settled(line: string): string {
  if (!line.includes('\r')) return line
  const trimmed = line.replace(/\r+$/, '')
  return trimmed.slice(trimmed.lastIndexOf('\r') + 1)
}

/** Chunks to whole lines; `end` gives what lacks a newline. */
export function createLines(): { push(text: string): string[]; end(): string[] } {
  let partial = ''
  return {
    push(text) {
      const whole = partial === '' ? text : partial + text
      const lines = whole.split('\n')
      partial = lines.pop() ?? ''
      return whole.includes('\r') ? lines.map(settled) : lines
    },
    end() {
      const last = partial
      partial = ''
      return last === '' ? [] : [settled(last)]
    },
  }
}
