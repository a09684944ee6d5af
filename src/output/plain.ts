/** Plain lines: what is shown where there is no terminal. Each line is one host's, and says whose. */
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
  const paint = options.paint ?? unpainted
  const format = options.format ?? createFormat(options)
  return {
    event(event) {
      const shown = format(event)
      if (!shown) return
      if (shown.raw !== undefined) return options[shown.to](shown.raw)
      const prefix = shown.host === undefined ? '' : `${paint('cyan', `[${shown.host}]`)} `
      options[shown.to](shown.lines.map((line) => `${prefix}${line}\n`).join(''))
    },
  }
}
