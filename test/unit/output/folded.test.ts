import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { EventBody } from '../../../src/events/index.ts'
import { folded, githubSink, plainSink } from '../../../src/output/index.ts'
import { at, command, ended, events, output, shown } from './events.ts'

const begin = (...hosts: string[]): EventBody => ({ type: 'hosts.started', id: 'f', label: 'web', hosts })
const end = (...outcomes: { host: string; durationMs?: number; error?: string }[]): EventBody => ({
  type: 'hosts.finished',
  id: 'f',
  outcomes: outcomes.map(({ host, error, durationMs = 1000 }) => ({
    host,
    outcome: error === undefined ? 'ok' : 'failed',
    durationMs,
    ...(error === undefined ? {} : { error }),
  })),
})
const plain = (...bodies: (EventBody & { at?: number })[]) => shown((writers) => plainSink(writers), ...bodies)
const web = ['web1', 'web2', 'web3']
const all = (of: (host: string, id: string) => EventBody) => web.map((host, index) => of(host, String(index)))
const finished: EventBody = { type: 'run.finished', outcome: 'ok', exitCode: 0, durationMs: 5 }

describe('what several hosts do', () => {
  it('is told once where it is the same, and each other answer as its host’s own', () => {
    const { err } = plain(
      begin(...web),
      ...all((host, id) => command(id, host, 'cat /etc/motd')),
      ...all((host, id) => output(id, host, host === 'web2' ? 'other\n' : 'one\ntwo\n')).reverse(),
      ...all((host, id) => ended(id, host)),
      end(...web.map((host) => ({ host }))),
    )
    expect(err).toBe('[web[1-3]] $ cat /etc/motd\n[web[1,3]] one\n[web[1,3]] two\n[web2] other\n')
  })

  it('is the same however the chunks came, and not where it ended otherwise', () => {
    const { err } = plain(
      begin(...web),
      ...all((host, id) => command(id, host, 'make')),
      output('0', 'web1', 'bui'),
      output('1', 'web2', 'built\nd'),
      output('0', 'web1', 'lt\ndone'),
      output('1', 'web2', 'one'),
      output('2', 'web3', 'built\ndone'),
      ended('0', 'web1'),
      ended('1', 'web2'),
      ended('2', 'web3', 2),
      end(...web.map((host) => ({ host }))),
    )
    expect(err).toBe('[web[1-3]] $ make\n[web[1-2]] built\n[web[1-2]] done\n[web3] built\n[web3] done\n[web3] exit 2\n')
  })

  it('stays unseen where it was quiet, though its beginning was told in another host’s name', () => {
    const { err } = plain(
      begin(...web),
      ...all((host, id) => command(id, host, 'test -e x', true)),
      ...all((host, id) => ({ ...ended(id, host, Number(id)), quiet: true }) as EventBody),
      end(...web.map((host) => ({ host }))),
    )
    expect(err).toBe('')
  })

  it('keeps the order of each host, and of what is nobody’s', () => {
    const { err } = plain(
      begin(...web),
      ...all((host) => ({ type: 'note', text: 'before', host })),
      { type: 'warning', text: 'careful' },
      ...all((host) => ({ type: 'note', text: 'after', host })),
      end(...web.map((host) => ({ host }))),
      ...all((host) => ({ type: 'note', text: 'alone', host })),
    )
    expect(err).toBe(
      '[web[1-3]] before\nwarning: careful\n[web[1-3]] after\n[web1] alone\n[web2] alone\n[web3] alone\n',
    )
  })

  it('is the same where two things were printed by turns', () => {
    const line = (host: string, text: string): EventBody => ({ type: 'log.line', source: '', host, text })
    const note = (host: string, text: string): EventBody => ({ type: 'note', host, text })
    const { out, err } = plain(
      begin('web1', 'web2'),
      ...[line('web1', 'one'), note('web1', 'careful'), line('web1', 'two')],
      ...[line('web2', 'one'), line('web2', 'two'), note('web2', 'careful')],
      end({ host: 'web1' }, { host: 'web2' }),
    )
    expect({ out, err }).toEqual({ out: '[web[1-2]] one\n[web[1-2]] two\n', err: '[web[1-2]] careful\n' })
  })

  it('loses no half of a line where others are done meanwhile', () => {
    const { err } = plain(
      begin('web1', 'web2'),
      { type: 'hosts.started', id: 'g', label: 'db', hosts: ['db1', 'db2'] },
      command('0', 'web1', 'make'),
      command('1', 'web2', 'make'),
      output('0', 'web1', 'built '),
      output('1', 'web2', 'built '),
      { type: 'hosts.finished', id: 'g', outcomes: [] },
      output('0', 'web1', 'one\n'),
      output('1', 'web2', 'two\n'),
      ended('0', 'web1'),
      ended('1', 'web2'),
      end({ host: 'web1' }, { host: 'web2' }),
    )
    expect(err).toBe('[web[1-2]] $ make\n[web1] built one\n[web2] built two\n')
  })

  it('as steps takes the longest of the times', () => {
    const step = (host: string, id: string): EventBody => ({ type: 'step.started', id, title: 'send', host })
    const done = (_host: string, id: string): EventBody => ({
      type: 'step.finished',
      id,
      outcome: id === '2' ? 'failed' : 'ok',
      durationMs: 2000 + Number(id) * 1000,
    })
    const { err } = plain(begin(...web), ...all(step), ...all(done), end(...web.map((host) => ({ host }))))
    expect(err).toBe('[web[1-2]] ✓ send, 3.0 s\n[web3] ✗ send, 4.0 s\n')
  })

  it('names the first of many whose names say no more together', () => {
    const names = Array.from({ length: 12 }, (_each, index) => `${'abcdefghijkl'[index]}.example.org`)
    const { err } = plain(
      begin(...names),
      ...names.map((host): EventBody => ({ type: 'note', text: 'hi', host })),
      end(...names.map((host) => ({ host }))),
    )
    expect(err).toBe('[a.example.org and 11 more] hi\n')
  })

  it('is annotated once in GitHub’s logs', () => {
    const { err } = shown(
      (writers) => githubSink(writers),
      begin(...web),
      ...all((host) => ({ type: 'warning', text: 'full', host })),
      end(...web.map((host) => ({ host }))),
    )
    expect(err).toBe('::warning title=web[1-3]::full\n')
  })
})

describe('waiting for the others', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('ends after two seconds, and where much has come', () => {
    const told: string[] = []
    const sink = folded({ event: (event) => told.push('host' in event ? `${event.host}` : event.type) })
    for (const event of events(begin(...web), ...all((host, id) => output(id, host, 'same\n')))) sink.event(event)
    expect(told).toEqual(['hosts.started'])
    vi.advanceTimersByTime(1999)
    expect(told).toHaveLength(1)
    vi.advanceTimersByTime(1)
    expect(told.slice(1)).toEqual(['web[1-3]'])
    for (const event of events(output('0', 'web1', `${'x'.repeat(2_000_000)}\n`))) sink.event(event)
    expect(told.slice(2)).toEqual(['web1'])
  })

  it('ends by the events’ own time where they are shown again later', () => {
    const { err } = plain(
      begin(...web),
      { ...output('0', 'web1', 'soon\n'), at },
      { ...output('1', 'web2', 'soon\n'), at: at + 2000 },
      { ...output('2', 'web3', 'soon\n'), at: at + 2500 },
      end(...web.map((host) => ({ host }))),
    )
    expect(err).toBe('[web[1-2]] soon\n[web3] soon\n')
  })

  it('loses nothing where it is cut off', () => {
    const { err } = plain(begin(...web), ...all((host) => ({ type: 'note', text: 'hi', host })))
    expect(err).toBe('[web[1-3]] hi\n')
  })
})

describe('the end of a run', () => {
  it('is a line of all hosts where they ended alike', () => {
    const { err } = plain(
      begin(...web),
      end({ host: 'web1', durationMs: 10 }, { host: 'web2', durationMs: 3000 }, { host: 'web3' }),
      ...all((host) => ({ type: 'changed', host, what: 'current → v2' })),
      { type: 'changed', what: 'the domain' },
      finished,
    )
    expect(err).toBe('web[1-3]  ok, up to 3.0 s\nchanged on web[1-3]: current → v2\nchanged: the domain\ndone, 5 ms\n')
  })

  it('is a table where they did not, by the worst of each, failures last', () => {
    const { err } = plain(
      begin(...web),
      end({ host: 'web1' }, { host: 'web2', error: 'no space on web2' }, { host: 'web3', error: 'no space on web3' }),
      begin(...web),
      end({ host: 'web1' }, { host: 'web2' }, { host: 'web3' }),
      finished,
    )
    expect(err).toBe('web1      ok, 2.0 s\nweb[2-3]  failed: no space on <host>\ndone, 5 ms\n')
  })

  it('does not repeat the table of the error', () => {
    const { err } = plain(
      begin(...web),
      end({ host: 'web1' }, { host: 'web2' }, { host: 'web3', error: 'no space on web3' }),
      { type: 'error', error: { code: 'hosts-failed', message: '1 of 3 failed', detail: 'web3  failed: no space' } },
      { ...finished, outcome: 'failed' },
    )
    expect(err.match(/no space/g)).toHaveLength(1)
  })
})
