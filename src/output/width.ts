/** How many columns text takes on a terminal: wide characters two, combining ones none. Pure. */

const escapes = /\x1b\[[0-9;]*m/g
const wide =
  /^(?:\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}])/u
/** One column a character: ASCII, Latin, punctuation, and what the live view itself draws with. */
const plainText = /^[\x20-\x7e\xa1-\xac\xae-\u02ff\u2010-\u2027\u2190-\u2193\u2500-\u257f\u2713\u2717\u2800-\u28ff]*$/
// Made when first needed: it loads Unicode's tables, which takes ten milliseconds.
let segmenter: Intl.Segmenter | undefined
const graphemes = (text: string) => {
  segmenter ??= new Intl.Segmenter(undefined, { granularity: 'grapheme' })
  return segmenter.segment(text)
}

/** Columns of `text`, colours not counted. */
export function width(text: string): number {
  const bare = text.includes('\x1b') ? text.replace(escapes, '') : text
  if (plainText.test(bare)) return bare.length
  let columns = 0
  for (const { segment } of graphemes(bare)) columns += columnsOf(segment)
  return columns
}

function columnsOf(grapheme: string): number {
  if (wide.test(grapheme) || grapheme.includes('\ufe0f')) return 2
  return /^[\p{M}\p{Cf}\u200b]+$/u.test(grapheme) ? 0 : 1
}

/** `text` cut to `columns`, with an ellipsis where something was left out. Keeps colours, and ends them. */
export function truncate(text: string, columns: number): string {
  if (width(text) <= columns) return text
  if (columns <= 0) return ''
  let shown = ''
  let used = 0
  let coloured = false
  for (const part of text.split(/(\x1b\[[0-9;]*m)/)) {
    if (part.startsWith('\x1b[')) {
      shown += part
      coloured = true
      continue
    }
    for (const { segment } of graphemes(part)) {
      const more = columnsOf(segment)
      if (used + more > columns - 1) return `${shown}…${coloured ? '\x1b[0m' : ''}`
      shown += segment
      used += more
    }
  }
  return shown
}

/**
 * `text` as lines of at most `columns`, broken between words and indented from the second on. A word that is longer
 * (a path) stays whole, for the terminal to break: it can be copied then.
 */
export function wrap(text: string, columns: number, indent: string): string[] {
  if (text.length <= columns || width(text) <= columns) return [text]
  const lines: string[] = []
  let line = ''
  let used = 0
  for (const word of text.split(/(?<=\S) /)) {
    const size = width(word)
    if (line !== '' && used + 1 + size > columns) {
      lines.push(line)
      line = `${indent}${word}`
      used = indent.length + size
    } else {
      used += line === '' ? size : size + 1
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}
