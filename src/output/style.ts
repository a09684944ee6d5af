/** Colours, as `util.styleText` knows them, or none. */
import { styleText } from 'node:util'

export type Style = Parameters<typeof styleText>[0]
export type Paint = (style: Style, text: string) => string

export const unpainted: Paint = (_style, text) => text
const painted: Paint = (style, text) => styleText(style, text, { validateStream: false })

/** NO_COLOR and FORCE_COLOR hold (in that order of strength where both are set to something); else terminals get colour. */
export function paintFor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): Paint {
  if (env['NO_COLOR']) return unpainted
  const forced = env['FORCE_COLOR']
  if (forced !== undefined && forced !== '') return forced === '0' ? unpainted : painted
  if (env['TERM'] === 'dumb') return unpainted
  return stream.isTTY ? painted : unpainted
}
