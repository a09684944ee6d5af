/** The picture of a run shows what a terminal would. */
import { expect, test } from 'vitest'
import { finalScreen, svg } from '../../../scripts/picture-screen.mjs'

const shown = (recorded: string) => finalScreen(recorded).map((line) => line.map(({ text }) => text).join(''))

test('what was drawn over is gone', () => {
  expect(shown('one\r\nwaiting 1 ms\r\n\x1b[1A\x1b[0Jwaiting 2 ms\r\n\x1b[1A\x1b[0Jdone\r\n')).toEqual(['one', 'done'])
})

test('styles hold until they are reset', () => {
  expect(finalScreen('\x1b[1mbold\x1b[22m plain \x1b[36mcyan')).toEqual([
    [
      { text: 'bold', style: 'bold' },
      { text: ' plain ', style: '' },
      { text: 'cyan', style: 'cyan' },
    ],
  ])
})

test('modes of the terminal leave nothing', () => {
  expect(shown('\x1b[?2026hline\x1b[?2026l\r\n')).toEqual(['line'])
})

test('a picture cuts long lines, keeps indentation, and escapes what SVG would read', () => {
  const picture = svg([[{ text: '  <b> & more than fits', style: 'dim' }]], 12)
  expect(picture).toContain('>\u00a0\u00a0&#60;b&#62;\u00a0&#38;\u00a0mor…</tspan>')
})
