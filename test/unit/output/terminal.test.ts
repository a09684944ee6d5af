import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { EventBody } from '../../../src/events/index.ts'
import { terminalSink, truncate, unpainted, width } from '../../../src/output/index.ts'
import { at, command, ended, events, output } from './events.ts'

/** As much of a terminal as the view uses: lines, cursor up, erase below. */
function createScreen(columns = 80) {
  const lines: string[] = ['']
  let row = 0
  const write = (text: string) => {
    for (const [part] of text.matchAll(/\x1b\[\??[0-9]*[a-zA-Z]|\n|[^\x1b\n]+/g)) {
      const [, count, letter] = /^\x1b\[(\??[0-9]*)([a-zA-Z])$/.exec(part) ?? []
      if (letter === 'F') row = Math.max(0, row - Number(count))
      else if (letter === 'J') {
        lines.length = row + 1
        lines[row] = ''
      } else if (part === '\n') lines[++row] ??= ''
      else if (!part.startsWith('\x1b')) lines[row] += part
    }
  }
  return { columns, write, text: () => lines.join('\n').trimEnd() }
}

beforeEach(() => {
  vi.useFakeTimers({ now: at })
})
afterEach(() => {
  vi.useRealTimers()
})

function view(options: { columns?: number; outIsTerminal?: boolean } = {}) {
  const screen = createScreen(options.columns)
  const writes: string[] = []
  let out = ''
  const sink = terminalSink({
    paint: unpainted,
    err: (text) => {
      writes.push(text)
      screen.write(text)
    },
    out: (text) => {
      out += text
      if (options.outIsTerminal !== false) screen.write(text)
    },
    outIsTerminal: options.outIsTerminal !== false,
    size: () => ({ columns: screen.columns, rows: 24 }),
  })
  return {
    screen,
    sink,
    writes,
    out: () => out,
    tell(...bodies: EventBody[]) {
      for (const event of events(...bodies)) sink.event({ ...event, at: Date.now() })
      vi.advanceTimersByTime(60)
    },
  }
}

const started = (id: string, name: string, parent?: string): EventBody => ({
  type: 'task.started',
  id,
  name,
  params: {},
  ...(parent ? { parent } : {}),
})

describe('the view on a terminal', () => {
  it('is a tree of what is done, with what is going on below it', () => {
    const { screen, tell } = view()
    tell(started('1', 'deploy'), started('2', 'upload', '1'), {
      type: 'step.started',
      id: 's',
      title: 'send the code',
      host: 'web1',
    })
    expect(screen.text()).toMatch(/^deploy\n {2}upload\n. \[web1\] send the code \d+ ms$/)
    tell({ type: 'step.finished', id: 's', outcome: 'ok', durationMs: 1200 })
    tell(
      { type: 'task.finished', id: '2', outcome: 'ok', durationMs: 1300 },
      { type: 'task.finished', id: '1', outcome: 'ok', durationMs: 1300 },
    )
    expect(screen.text()).toBe('deploy\n  upload\n[web1] ✓ send the code, 1.2 s\n  ✓ upload 1.3 s\n✓ deploy 1.3 s')
  })

  it('shows progress as a bar with rate, and takes it away at its end', () => {
    const { screen, tell } = view()
    const progress = (done: number): EventBody => ({
      type: 'progress',
      id: 'p',
      host: 'web1',
      label: 'upload',
      done,
      total: 4e6,
      unit: 'bytes',
    })
    tell(progress(0))
    vi.advanceTimersByTime(1000)
    tell(progress(2e6))
    expect(screen.text()).toMatch(/^. \[web1\] upload ━{20} 50 % 2\.0 MB of 4\.0 MB, 1\.\d MB\/s$/)
    tell(progress(4e6))
    expect(screen.text()).toBe('[web1] upload: 4.0 MB of 4.0 MB')
  })

  it('says “about” of a total that is an estimate', () => {
    const { screen, tell } = view()
    const dump = { type: 'progress', id: 'p', label: 'copy main', done: 1e6, total: 4e6, unit: 'bytes' } as const
    tell({ ...dump, about: true })
    expect(screen.text()).toMatch(/^. copy main ━{20} 25 % 1\.0 MB of about 4\.0 MB$/)
  })

  it('shows a quiet command only once it takes long, with what it printed last', () => {
    const { screen, tell } = view()
    tell(command('1', 'h', 'pip install', true), output('1', 'h', 'Collecting a\nCollecting b\n', true))
    expect(screen.text()).toBe('')
    vi.advanceTimersByTime(2000)
    expect(screen.text()).toMatch(/^. \[h\] pip install Collecting b 2\.\d s$/)
    tell(ended('1', 'h'))
    expect(screen.text()).toBe('')
  })

  it.each([
    [100, /^. \[deploy@pony\.example\.org\] dump pony to backups\/202611… ━{20} 50 % 2\.0 MB of 4\.0 MB$/],
    [80, /^. dump pony to backups\/20261127-101… ━{20} 50 % 2\.0 MB of 4\.0 MB$/],
    [40, /^. dump … ━{8} 50 % 2\.0 MB of 4\.0 MB$/],
  ])('shows the bar whole at %d columns: the label is cut, then the host left out', (columns, shown) => {
    const { screen, tell } = view({ columns })
    const label = 'dump pony to backups/20261127-101500/main.pgdump'
    const progress = {
      type: 'progress',
      id: 'd',
      host: 'deploy@pony.example.org',
      label,
      total: 4e6,
      unit: 'bytes',
    } as const
    tell({ ...progress, done: 2e6 })
    expect(screen.text()).toMatch(shown)
    expect(width(screen.text())).toBeLessThan(columns)
  })

  it('breaks long lines between words, under their own beginning; paths and what programs print stay whole', () => {
    const { screen, tell } = view({ columns: 40 })
    const path = '/home/deploy/webapps/pony2026r2/versions/20261127-101500-ab12cd/pony'
    tell(
      started('1', 'deploy'),
      { type: 'note', host: 'web1', text: `the folder ${path} is what it was, 日本語 and all 🎉 of it too` },
      {
        type: 'command.output',
        id: 'c',
        host: 'web1',
        stream: 'stdout',
        quiet: false,
        text: `${'word '.repeat(12)}\n`,
      },
    )
    expect(screen.text().split('\n').slice(1)).toEqual([
      '[web1] the folder',
      `    ${path}`,
      '    is what it was, 日本語 and all 🎉 of',
      '    it too',
      `[web1] ${'word '.repeat(12)}`.trimEnd(),
    ])
  })

  it('never wraps what is going on, and takes it back when the terminal was made narrower', () => {
    const { screen, tell } = view({ columns: 40 })
    tell({
      type: 'step.started',
      id: 's',
      title: 'a title that is far too long for such a narrow terminal',
      host: 'web1',
    })
    expect(screen.text().split('\n')).toHaveLength(1)
    expect(width(screen.text())).toBeLessThan(40)
    tell({ type: 'step.finished', id: 's', outcome: 'unchanged', durationMs: 1 })
    expect(screen.text()).toContain('[web1] = a title that is far too long\n    for such a narrow terminal')
  })

  it('writes a thousand lines in a few frames', () => {
    const { writes, tell, screen } = view()
    tell(command('1', 'h', 'yes'))
    const before = writes.length
    tell(...Array.from({ length: 1000 }, (_, index) => output('1', 'h', `line ${index}\n`)))
    expect(writes.length - before).toBeLessThanOrEqual(3)
    expect(screen.text()).toContain('[h] line 999')
  })

  it('at a thousand lines a second draws at most twenty frames, each whole, with what is going on in it', () => {
    const { writes, tell, sink, screen } = view()
    tell(command('1', 'h', 'yes'))
    const before = writes.length
    for (let line = 0; line < 1000; line++) {
      for (const event of events(output('1', 'h', `line ${line}\n`))) sink.event({ ...event, at: Date.now() })
      vi.advanceTimersByTime(1)
    }
    vi.advanceTimersByTime(60)
    const frames = writes.slice(before)
    expect(frames.length).toBeLessThanOrEqual(22)
    const whole = /^\x1b\[\?2026h\x1b\[1F\x1b\[0J[^\x1b]*\n. \[h\] yes [^\n]+\n\x1b\[\?2026l$/
    expect(frames.filter((frame) => !whole.test(frame))).toEqual([])
    const shown = [...screen.text().matchAll(/^\[h\] line (\d+)$/gm)].map(([, line]) => Number(line))
    expect(shown).toEqual(Array.from({ length: 1000 }, (_, line) => line))
  })

  it('keeps results whole: on the terminal above what is going on, elsewhere untouched', () => {
    const step: EventBody = { type: 'step.started', id: 's', title: 'working' }
    const same = view()
    same.tell(step, { type: 'result', text: '{"a":1}' })
    expect(same.screen.text()).toMatch(/^\{"a":1\}\n. working/)
    const piped = view({ outIsTerminal: false })
    piped.tell(step, { type: 'result', text: '{"a":1}' })
    expect(piped.out()).toBe('{"a":1}\n')
    expect(piped.screen.text()).toMatch(/^. working/)
  })

  it('leaves the terminal alone while a question is there', () => {
    const { screen, sink, tell } = view()
    tell({ type: 'step.started', id: 's', title: 'working' })
    const goOn = sink.pause()
    expect(screen.text()).toBe('')
    tell({ type: 'note', text: 'meanwhile' })
    vi.advanceTimersByTime(1000)
    expect(screen.text()).toBe('')
    goOn()
    vi.advanceTimersByTime(60)
    expect(screen.text()).toMatch(/^meanwhile\n. working/)
  })

  it('shows the end of what failed, and leaves nothing running at the close', () => {
    const { screen, sink, tell } = view()
    tell(started('1', 'build'), command('1', 'h', 'make', true), output('1', 'h', 'oh no\n', true), ended('1', 'h', 2))
    tell({ type: 'task.finished', id: '1', outcome: 'failed', durationMs: 5 })
    tell({ type: 'error', error: { code: 'command-failed', message: 'make failed on h', detail: 'oh no', host: 'h' } })
    tell({ type: 'run.finished', outcome: 'failed', exitCode: 1, durationMs: 9 })
    sink.close?.()
    expect(screen.text()).toBe('build\n✗ build 5 ms\nerror: make failed on h\n  oh no\nfailed, 9 ms')
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('columns', () => {
  it.each([
    ['plain', 5],
    ['\x1b[31mred\x1b[0m', 3],
    ['日本', 4],
    ['e\u0301', 1],
    ['👩‍🚒!', 3],
    ['━━', 2],
  ])('of %j are %i', (text, expected) => {
    expect(width(text)).toBe(expected)
  })

  it('cut between characters, and end colours', () => {
    expect(truncate('日本語', 5)).toBe('日本…')
    expect(truncate('\x1b[31mabcdef\x1b[0m', 4)).toBe('\x1b[31mabc…\x1b[0m')
    expect(truncate('abc', 3)).toBe('abc')
  })
})
