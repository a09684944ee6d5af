import { describe, expect, it } from 'vitest'
import { githubSink, gitlabSink, jsonSink } from '../../../src/output/index.ts'
import { at, shown } from './events.ts'

const nested = [
  { type: 'task.started', id: '1', name: 'deploy', params: { release: 'staging' } },
  { type: 'note', text: 'begin' },
  { type: 'task.started', id: '2', parent: '1', name: 'upload', params: {} },
  { type: 'note', text: 'sending' },
  { type: 'task.finished', id: '2', outcome: 'ok', durationMs: 1 },
  { type: 'task.finished', id: '1', outcome: 'ok', durationMs: 1 },
] as const

describe('GitHub Actions', () => {
  it('gets a group for each task, one after the other', () => {
    expect(shown(githubSink, ...nested).err).toBe(
      '::group::deploy release=staging\nbegin\n::endgroup::\n::group::upload\nsending\n::endgroup::\n',
    )
  })

  it('gets annotations, escaped, with the place where there is one', () => {
    const { err } = shown(
      githubSink,
      { type: 'warning', text: '100% full\nreally', host: 'web1' },
      {
        type: 'error',
        error: { code: 'unexpected', message: 'tasks.ts:12:5: TypeError: no, really', next: 'Fix it.' },
      },
    )
    expect(err).toContain('::warning title=web1::100%25 full%0Areally\n')
    expect(err).toContain('::error file=tasks.ts,line=12,col=5::tasks.ts:12:5: TypeError: no, really%0AFix it.\n')
  })

  it('is not commanded by what a host prints', () => {
    const { err } = shown(githubSink, {
      type: 'command.output',
      id: '1',
      host: 'h',
      stream: 'stdout',
      text: '::set-output name=x::y\n',
      quiet: false,
    })
    expect(err).toBe('[h] ::set-output name=x::y\n')
  })
})

it('GitLab gets nested sections', () => {
  const seconds = at / 1000
  expect(shown(gitlabSink, ...nested).err).toBe(
    `\x1b[0Ksection_start:${seconds}:slipway_1\r\x1b[0Kdeploy release=staging\nbegin\n` +
      `\x1b[0Ksection_start:${seconds}:slipway_2\r\x1b[0Kupload\nsending\n` +
      `\x1b[0Ksection_end:${seconds}:slipway_2\r\x1b[0K\n\x1b[0Ksection_end:${seconds}:slipway_1\r\x1b[0K\n`,
  )
})

it('JSON has one event a line, with the version of its form', () => {
  const { out, err } = shown(({ out }) => jsonSink(out), { type: 'note', text: 'a\nb' }, { type: 'result', text: 'x' })
  expect(err).toBe('')
  expect(
    out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual([
    { v: 1, at, run: '20261127T101500-ab12cd', type: 'note', text: 'a\nb' },
    { v: 1, at, run: '20261127T101500-ab12cd', type: 'result', text: 'x' },
  ])
})
