// A terminal's recording as what it shows in the end, and that as an SVG. Pure. Knows what a run writes: colours,
// cursor up, erase below; long lines are cut.

const styles = { 1: 'bold', 2: 'dim', 31: 'red', 32: 'green', 33: 'yellow', 34: 'blue', 35: 'magenta', 36: 'cyan' }
const resets = new Set(['0', '', '22', '39'])

/** The lines on the screen at the end: `[{ text, style }]` each. */
export function finalScreen(recorded) {
  const screen = [[]]
  let row = 0
  let style = ''
  for (const [, sequence, final, newline, text] of recorded.matchAll(
    /\x1b\[([?\d;]*)([A-Za-z])|(\r?\n)|\r|([^\x1b\r\n]+)/g,
  )) {
    if (newline) {
      row++
      screen[row] ??= []
    } else if (text) screen[row].push({ text, style })
    else if (final === 'm') {
      for (const code of sequence.split(';')) style = resets.has(code) ? '' : (styles[code] ?? style)
    } else if (final === 'A' || final === 'F') row = Math.max(0, row - Number(sequence || 1))
    else if (final === 'J' || final === 'K') {
      screen[row] = []
      if (final === 'J') screen.length = row + 1
    }
  }
  while (screen.length > 0 && screen.at(-1).length === 0) screen.pop()
  return screen
}

const colours = {
  '': '#d6deeb',
  bold: '#ffffff',
  dim: '#8b98ad',
  red: '#ff7b72',
  green: '#7ee787',
  yellow: '#e3b341',
  blue: '#79c0ff',
  magenta: '#d2a8ff',
  cyan: '#76d9e6',
}

/** Lines as an SVG that needs no font but the reader's own monospaced one, and is the same in light and dark. */
export function svg(lines, columns) {
  const [width, height, padding, step] = [columns * 8.4 + 40, lines.length * 20 + 40, 20, 20]
  // A plain space at the beginning of a piece, and all but one of several, would be dropped.
  const escaped = (text) => text.replace(/[&<>]/g, (char) => `&#${char.codePointAt(0)};`).replaceAll(' ', '\u00a0')
  const rows = lines.map((line, index) => {
    const spans = cut(line, columns).map(
      ({ text, style }) =>
        `<tspan fill="${colours[style] ?? colours['']}"${style === 'bold' ? ' font-weight="bold"' : ''}>${escaped(text)}</tspan>`,
    )
    return `  <text x="${padding}" y="${padding + 15 + index * step}">${spans.join('')}</text>`
  })
  const plain = lines.map((line) => line.map(({ text }) => text).join('')).join('\n')
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">
  <title>A deploy to staging, and its status</title>
  <desc>${escaped(plain).replaceAll('\u00a0', ' ')}</desc>
  <rect width="100%" height="100%" rx="8" fill="#0d1726"/>
${rows.join('\n')}
</svg>
`
}

function cut(line, columns) {
  let left = columns
  return line.flatMap(({ text, style }) => {
    if (left <= 0) return []
    const kept = text.length > left ? `${text.slice(0, left - 1)}…` : text
    left -= kept.length
    return [{ text: kept, style }]
  })
}
