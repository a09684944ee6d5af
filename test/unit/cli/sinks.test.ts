/** Which way a run is shown, by where it runs: a terminal, a pipe, or a CI system. */
import { expect, test } from 'vitest'
import { chooseSink, type Showing } from '../../../src/cli/sinks.ts'
import { events } from '../output/events.ts'

const terminal = { isTTY: true, columns: 80, rows: 24 }

/** What a small run writes there. */
function shown(env: NodeJS.ProcessEnv, stderr: { isTTY?: boolean } = terminal, showing: Showing = {}) {
  const said = { out: '', err: '' }
  const sink = chooseSink(
    {
      out: (text) => {
        said.out += text
      },
      err: (text) => {
        said.err += text
      },
      ...{ cwd: '/', env, stdin: {}, stdout: {}, stderr, onBrokenPipe() {} },
    },
    showing,
  )
  for (const event of events(
    { type: 'task.started', id: '1', name: 'deploy', params: {} },
    { type: 'warning', text: 'look', host: 'web1' },
    { type: 'result', text: '42' },
    { type: 'task.finished', id: '1', outcome: 'ok', durationMs: 1 },
  ))
    sink.event(event)
  sink.close?.()
  return said
}

const colour = /\x1b\[\d+m/
const frame = '\x1b[?2026h'

test.each<[string, NodeJS.ProcessEnv, { isTTY?: boolean }, string]>([
  ['GitHub Actions', { GITHUB_ACTIONS: 'true' }, {}, '::group::deploy'],
  ['GitLab', { GITLAB_CI: 'true' }, {}, 'section_start:'],
  ['a terminal', { TERM: 'xterm' }, terminal, frame],
  ['a pipe', { TERM: 'xterm' }, {}, '[web1]'],
])('%s gets its own form, and results alone on stdout', (_, env, stderr, expected) => {
  const { out, err } = shown(env, stderr)
  expect(err).toContain(expected)
  expect(err).not.toContain('42')
  expect(out).toBe('42\n')
})

test('a terminal that can do nothing, and one that shall be quiet, get plain lines', () => {
  for (const { err } of [shown({ TERM: 'dumb' }), shown({ TERM: 'xterm' }, terminal, { verbosity: 'quiet' })]) {
    expect(err).toContain('look')
    expect(err).not.toContain(frame)
  }
})

test('--json is JSON lines alone, also in CI', () => {
  const { out, err } = shown({ GITHUB_ACTIONS: 'true' }, {}, { json: true })
  expect(err).toBe('')
  const types = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).type)
  expect(types).toEqual(['task.started', 'warning', 'result', 'task.finished'])
})

test.each<[boolean, NodeJS.ProcessEnv, { isTTY?: boolean }]>([
  [true, { TERM: 'xterm' }, terminal],
  [false, { TERM: 'xterm' }, {}],
  [false, { TERM: 'xterm', NO_COLOR: '1' }, terminal],
  [true, { TERM: 'xterm', FORCE_COLOR: '1' }, {}],
  [false, { TERM: 'xterm', FORCE_COLOR: '0' }, terminal],
  [false, { TERM: 'xterm', FORCE_COLOR: '1', NO_COLOR: '1' }, terminal],
  [false, { TERM: 'dumb' }, terminal],
])('colours: %s for %j', (painted, env, stderr) => {
  expect(colour.test(shown(env, stderr).err)).toBe(painted)
})
