/** An error for a person: what failed, the end of what it printed, what is true now, what to type next. Pure. */
import type { ErrorRecord } from '../events/events.ts'
import { type Paint, unpainted } from './style.ts'
import { printable } from './text.ts'

const detailLines = 20

export function failureLines(error: ErrorRecord, options: { debug?: boolean; paint?: Paint } = {}): string[] {
  const paint = options.paint ?? unpainted
  const where = error.host !== undefined && !error.message.includes(error.host) ? `[${error.host}] ` : ''
  const lines = [`${paint(['red', 'bold'], 'error:')} ${where}${printable(error.message.split('\n')[0] ?? '')}`]
  for (const more of error.message.split('\n').slice(1)) lines.push(`  ${printable(more)}`)
  if (error.detail) {
    const detail = error.detail.replace(/\n+$/, '').split('\n')
    if (detail.length > detailLines) lines.push(paint('dim', `  (the last ${detailLines} of ${detail.length} lines)`))
    for (const line of detail.slice(-detailLines)) lines.push(`  ${printable(line)}`)
  }
  if (error.state) lines.push(`  ${printable(error.state)}`)
  if (error.next) lines.push(`  ${paint('cyan', '→')} ${printable(error.next)}`)
  if (options.debug && error.stack) {
    for (const line of error.stack.split('\n')) lines.push(paint('dim', `  ${printable(line)}`))
  }
  return lines
}
