/** Plain lines: what is shown where there is no terminal. Each line is one host's, and says whose. */
import { folded } from './folded.ts'
import { createFormat, type Format, type Verbosity } from './format.ts'
import type { Sink } from './sink.ts'
import { type Paint, unpainted } from './style.ts'

/** Where lines go: results to `out`, everything else to `err`. */
export interface Writers {
  out(text: string): void
  err(text: string): void
}

export interface PlainOptions extends Writers {
  verbosity?: Verbosity
  paint?: Paint
  format?: Format
}

export function plainSink(options: PlainOptions): Sink {
  return folded(plainLines(options))
}

/** The same with each host's lines as they come. */
export function plainLines(options: PlainOptions): Sink {
  const paint = options.paint ?? unpainted
  const format = options.format ?? createFormat(options)
  // Lines of logs that come at once are written at once: a write for each would be most of the work.
  let lines = ''
  let soon: NodeJS.Immediate | undefined
  const flush = () => {
    if (soon !== undefined) clearImmediate(soon)
    soon = undefined
    const text = lines
    lines = ''
    if (text !== '') options.out(text)
  }
  return {
    close: flush,
    event(event) {
      const shown = format(event)
      if (!shown) return
      if (event.type === 'log.line' && shown.to === 'out' && shown.raw === undefined) {
        const prefix = shown.host === undefined ? '' : `${paint('cyan', `[${shown.host}]`)} `
        for (const line of shown.lines) lines += `${prefix}${line}\n`
        if (lines.length > 64 * 1024) flush()
        else soon ??= setImmediate(flush)
        return
      }
      flush()
      if (shown.raw !== undefined) return options[shown.to](shown.raw)
      const prefix = shown.host === undefined ? '' : `${paint('cyan', `[${shown.host}]`)} `
      options[shown.to](shown.lines.map((line) => `${prefix}${line}\n`).join(''))
    },
  }
}
