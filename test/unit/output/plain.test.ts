import { describe, expect, it } from 'vitest'
import type { EventBody } from '../../../src/events/index.ts'
import { plainSink, type Verbosity } from '../../../src/output/index.ts'
import { command, ended, output, shown } from './events.ts'

const plain = (verbosity: Verbosity, ...bodies: EventBody[]) =>
  shown((writers) => plainSink({ ...writers, verbosity }), ...bodies)
const err = (...bodies: EventBody[]) => plain('normal', ...bodies).err

describe('lines', () => {
  it('are one host’s each, however the chunks come', () => {
    expect(
      err(
        command('1', 'web1', 'uptime'),
        command('2', 'web2', 'uptime'),
        output('1', 'web1', 'up 3 '),
        output('2', 'web2', 'up 5 days\nload'),
        output('1', 'web1', 'days\n'),
        ended('1', 'web1'),
        ended('2', 'web2'),
      ),
    ).toBe('[web1] $ uptime\n[web2] $ uptime\n[web2] up 5 days\n[web1] up 3 days\n[web2] load\n')
  })

  it('hold no control characters, and of a line that overwrites itself the last state', () => {
    expect(err(output('1', 'h', '\x1b[31mred\x1b[0m\x07 10%\r 50%\r100%\r\n\x1b]0;title\x07tab\there\x9b31m\n'))).toBe(
      '[h] 100%\n[h] tab\there31m\n',
    )
  })

  it('of a log that come at once are written at once, before whatever follows, and at the end', () => {
    const written: string[] = []
    const sink = plainSink({ out: (text) => written.push(text), err: (text) => written.push(`! ${text}`) })
    const about = { at: 0, run: 'r' }
    const line = (text: string) => sink.event({ type: 'log.line', host: 'web1', source: 'app', text, ...about })
    line('one')
    line('two')
    sink.event({ type: 'warning', text: 'careful', ...about })
    line('three')
    sink.close?.()
    expect(written).toEqual(['[web1] app one\n[web1] app two\n', '! warning: careful\n', '[web1] app three\n'])
  })

  it('of results and followed logs go to stdout, all others to stderr', () => {
    const { out, err } = plain(
      'normal',
      { type: 'result', text: '{"a":1}', value: { a: 1 } },
      { type: 'log.line', host: 'web1', source: 'app', text: 'GET /' },
      { type: 'note', text: 'two\nlines', host: 'web1' },
      { type: 'warning', text: 'careful' },
    )
    expect(out).toBe('{"a":1}\n[web1] app GET /\n')
    expect(err).toBe('[web1] two\n[web1] lines\nwarning: careful\n')
  })

  it('say with -v why the system’s ssh took a host', () => {
    const why = 'there is a certificate for the key id'
    const event = {
      type: 'host.connected',
      host: 'h',
      endpoint: 'h:22',
      transport: 'openssh',
      durationMs: 80,
      why,
    } as const
    expect(plain('verbose', event).err).toBe(`[h] connected to h:22 (openssh, ${why}), 80 ms\n`)
    expect(plain('normal', event).err).toBe('')
  })

  it('show a failing command with its status, signal, or the lack of one', () => {
    expect(err(command('1', 'h', 'false'), ended('1', 'h', 1))).toBe('[h] $ false\n[h] exit 1\n')
    expect(err(command('1', 'h', 'x'), ended('1', 'h', null, 'KILL'))).toBe('[h] $ x\n[h] killed by KILL\n')
    expect(err(command('1', 'h', 'x'), ended('1', 'h', null))).toBe('[h] $ x\n[h] ended without a status\n')
  })

  it('show steps with their outcome, and nothing of quiet commands', () => {
    expect(
      err(
        command('1', 'h', 'secret plumbing', true),
        output('1', 'h', 'noise\n', true),
        ended('1', 'h'),
        { type: 'step.started', id: 's1', title: 'link settings', host: 'h' },
        { type: 'step.finished', id: 's1', outcome: 'ok', durationMs: 40 },
        { type: 'step.started', id: 's2', title: 'install', host: 'h' },
        { type: 'step.finished', id: 's2', outcome: 'unchanged', durationMs: 3200, detail: 'nothing to do' },
      ),
    ).toBe('[h] ✓ link settings\n[h] = install: nothing to do, 3.2 s\n')
  })

  it('show a step that a dry run held back as that, and never as done', () => {
    expect(
      err(
        { type: 'step.started', id: 's1', title: 'stop the workers', host: 'h' },
        { type: 'step.finished', id: 's1', outcome: 'held-back', durationMs: 400 },
      ),
    ).toBe('[h] - stop the workers: held back\n')
  })

  it('show tasks, and at the end what changed where', () => {
    expect(
      err(
        { type: 'task.started', id: '1', name: 'start_app', params: { release: 'staging' } },
        { type: 'changed', host: 'web1', what: 'current → v2' },
        { type: 'changed', host: 'web1', what: 'started app' },
        { type: 'changed', host: 'web2', what: 'current → v2' },
        { type: 'task.finished', id: '1', outcome: 'ok', durationMs: 10 },
        { type: 'run.finished', outcome: 'ok', exitCode: 0, durationMs: 61_000 },
      ),
    ).toBe(
      '==> start_app release=staging\nchanged on web1: current → v2, started app\nchanged on web2: current → v2\ndone, 1 min 1 s\n',
    )
  })

  it('show what a dry run held back, with its diff', () => {
    expect(
      err(
        { type: 'run.started', argv: [], version: '1', user: 'u', dryRun: true },
        { type: 'held-back', host: 'h', display: 'write settings.ini', diff: '--- a\n+++ b\n-x = 1\n+x = 2\n' },
        { type: 'run.finished', outcome: 'ok', exitCode: 0, durationMs: 5 },
      ),
    ).toBe(
      'dry run: nothing is changed\n[h] would run: write settings.ini\n[h]   --- a\n[h]   +++ b\n[h]   -x = 1\n[h]   +x = 2\nheld back on h: 1 change\ndone, 5 ms\n',
    )
  })

  it('show progress now and then, and at its end once', () => {
    const step = (done: number, at: number) =>
      ({ type: 'progress', id: 'p', host: 'h', label: 'upload', done, total: 4e6, unit: 'bytes', at }) as const
    expect(err(step(0, 0), step(1e6, 1000), step(2e6, 6000), step(3e6, 7000), step(4e6, 8000), step(4e6, 8001))).toBe(
      '[h] upload: 2.0 MB of 4.0 MB\n[h] upload: 4.0 MB of 4.0 MB\n',
    )
  })
})

describe('an error', () => {
  const error = {
    code: 'command-failed',
    message: 'make failed with exit status 2 on web1',
    detail: Array.from({ length: 25 }, (_, index) => `line ${index + 1}`).join('\n'),
    state: 'Nothing was switched.',
    next: 'Run `tasks deploy_staging` again.',
    host: 'web1',
    stack: 'Error: x\n    at y',
  }

  it('says what failed, the last 20 lines, what is true and what to type', () => {
    const text = err({ type: 'error', error })
    expect(text.split('\n').slice(0, 4)).toEqual([
      'error: make failed with exit status 2 on web1',
      '  (the last 20 of 25 lines)',
      '  line 6',
      '  line 7',
    ])
    expect(text).toMatch(/ {2}line 25\n {2}Nothing was switched.\n {2}→ Run `tasks deploy_staging` again.\n$/)
    expect(text).not.toContain('at y')
  })

  it('does not repeat output that was just shown', () => {
    const text = err(command('1', 'web1', 'make'), output('1', 'web1', 'one\ntwo\n'), ended('1', 'web1', 2), {
      type: 'error',
      error: { ...error, detail: 'one\ntwo' },
    })
    expect(text.match(/two/g)).toHaveLength(1)
  })

  it('has its stack with --debug, and is shown with -q', () => {
    expect(plain('debug', { type: 'error', error }).err).toContain('at y')
    expect(plain('quiet', { type: 'error', error }).err).toContain('make failed')
  })
})

describe('verbosity', () => {
  const all: EventBody[] = [
    { type: 'task.started', id: '1', name: 't', params: {} },
    { type: 'host.connecting', host: 'h', endpoint: 'h:22' },
    { type: 'host.connected', host: 'h', endpoint: 'h:22', transport: 'ssh2', durationMs: 80 },
    command('1', 'h', 'quiet one', true),
    output('1', 'h', 'quiet output\n', true),
    ended('1', 'h'),
    { type: 'step.started', id: 's', title: 'a step', host: 'h' },
    { type: 'changed', host: 'h', what: 'a thing' },
    { type: 'result', text: 'the result' },
    { type: 'warning', text: 'careful' },
    { type: 'task.finished', id: '1', outcome: 'ok', durationMs: 12 },
  ]

  it('quiet shows results and warnings only', () => {
    expect(plain('quiet', ...all)).toEqual({ out: 'the result\n', err: 'warning: careful\n' })
  })

  it('verbose shows quiet commands, timings and changes; debug also connecting', () => {
    expect(plain('verbose', ...all).err).toBe(
      '==> t\n[h] connected to h:22 (ssh2), 80 ms\n[h] $ quiet one\n[h] quiet output\n[h] exit 0, 1.2 s\n[h] … a step\n[h] changed: a thing\nwarning: careful\n<== t done, 12 ms\n',
    )
    expect(plain('debug', ...all).err).toContain('[h] connecting to h:22\n')
  })
})
