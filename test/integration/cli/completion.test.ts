import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Built, buildSlipway } from '../../built.ts'
import { makeProject, type Project } from './project.ts'

let built: Built
let project: Project
beforeAll(async () => {
  built = await buildSlipway()
  project = makeProject({
    'tasks.ts': `import { choice, task } from 'slipway'
const release = choice(['staging', 'production'])
export const start_app = task({ about: 'Start the app', params: { release }, run() {} })
export const stop_app = task({ about: 'Stop the app', params: { release }, run() {} })
export const status = task({ about: 'How it is', run() {} })
`,
    'config/deploy.ini':
      '[staging]\ntarget = vps\nhosts = deploy@pony.example.org\n[staging.roles]\nweb = web1, web2 ; two\n',
  })
  for (const name of ['tasks', 'slipway'] as const) {
    chmodSync(project.write(`bin/${name}`, `#!/bin/sh\nexec ${process.execPath} ${built[name]} "$@"\n`), 0o755)
  }
})
afterAll(() => {
  project.remove()
  built.remove()
})

const environment = () => ({
  PATH: `${join(project.dir, 'bin')}:${process.env['PATH']}`,
  HOME: project.dir,
  TERM: 'dumb',
})

/** What bash makes of TAB after `line`, by its own machinery. */
function inBash(line: string): string[] {
  const script = `
    eval "$(slipway completion bash)"
    COMP_LINE=$1 COMP_POINT=\${#1}
    _slipway_complete
    printf '%s\\n' "\${COMPREPLY[@]}"`
  const out = execFileSync('bash', ['-c', script, 'bash', line], {
    cwd: project.dir,
    env: environment(),
    encoding: 'utf8',
  })
  return out.split('\n').filter(Boolean)
}

describe('bash', () => {
  it.each([
    ['tasks st', ['start_app:', 'status', 'stop_app:']],
    ['tasks sta', ['start_app:', 'status']],
    ['tasks start_app:', ['release=']],
    ['tasks start_app:release=', ['staging', 'production']],
    ['tasks start_app:release=st', ['staging']],
    ['tasks start_app --release ', ['staging', 'production']],
    ['tasks -H ', ['deploy@pony.example.org', 'web1', 'web2']],
    ['tasks -R ', ['web']],
    ['slipway do', ['doctor']],
    ['slipway sandbox ', ['up', 'status', 'down', 'reset']],
    ['slipway sandbox up ', []],
    ['slipway completion z', ['zsh']],
    ['slipway help dry', ['dry-run']],
    ['slipway doctor --l', ['--local']],
    ['slipway nothing ', []],
  ])('completes %j', (line, expected) => {
    expect(inBash(line)).toEqual(expected)
  })
})

const has = (shell: string) => spawnSync(shell, ['--version']).status === 0

describe.skipIf(!has('fish'))('fish', () => {
  it('completes tasks, with what they do', () => {
    const script = `slipway completion fish | source; complete -C 'tasks sto'`
    const out = execFileSync('fish', ['-c', script], { cwd: project.dir, env: environment(), encoding: 'utf8' })
    expect(out).toBe('stop_app:\tStop the app\n')
  })
})

describe.skipIf(!has('zsh'))('zsh', () => {
  it('loads, and registers both commands', () => {
    const script = `autoload -U compinit; compinit -D -u; eval "$(slipway completion zsh)"; print $_comps[tasks] $_comps[slipway]`
    const out = execFileSync('zsh', ['-fc', script], { cwd: project.dir, env: environment(), encoding: 'utf8' })
    expect(out).toBe('_slipway_complete _slipway_complete\n')
  })

  it('lines up what tasks do behind their names', async () => {
    const terminal = ['-L', `slipway-zsh-${process.pid}`]
    const tmux = (...args: string[]) => execFileSync('tmux', [...terminal, ...args], { encoding: 'utf8' })
    const env = Object.entries({ ...environment(), TERM: 'screen' }).map(([name, value]) => `${name}=${value}`)
    tmux('-f', '/dev/null', 'new-session', '-d', '-x', '90', '-y', '20', '-c', project.dir, 'env', ...env, 'zsh', '-f')
    try {
      const load = 'autoload -U compinit; compinit -D -u; eval "$(slipway completion zsh)"; clear; print ready'
      tmux('send-keys', load, 'Enter')
      await vi.waitFor(() => expect(tmux('capture-pane', '-p')).toMatch(/^ready$/m), 20_000)
      tmux('send-keys', 'tasks st', 'Tab')
      const shown = /^start_app: {2,}-- .+\n(?:.*\n)*stop_app: {2,}-- Stop the app$/m
      await vi.waitFor(() => expect(tmux('capture-pane', '-p')).toMatch(shown), 20_000)
      const columns = tmux('capture-pane', '-p')
        .split('\n')
        .flatMap((line) => (/ {2}-- /.test(line) ? [line.indexOf('--')] : []))
      expect(new Set(columns).size).toBe(1)
    } finally {
      tmux('kill-server')
    }
  })
})

it('answers in under 50 ms of processor time', () => {
  const line = `${process.execPath} ${built.tasks} --complete -- start_app --release st`
  const seconds = () => {
    const { stderr } = spawnSync('bash', ['-c', `TIMEFORMAT='%U %S'; time ${line} >/dev/null`], {
      cwd: project.dir,
      env: environment(),
      encoding: 'utf8',
    })
    return stderr
      .trim()
      .split(' ')
      .reduce((sum, each) => sum + Number(each), 0)
  }
  seconds()
  const times = Array.from({ length: 7 }, seconds)
  expect(Math.min(...times)).toBeLessThan(0.05)
  expect(Math.min(...times)).toBeGreaterThan(0)
})

it('an edited task file is known at once, and a broken one gives nothing, not a message', async () => {
  const ask = () => project.run(built.tasks, ['--complete', '--', 'new'])
  project.write('tasks.ts', `import { task } from 'slipway'\nexport const new_task = task({ about: 'n', run() {} })\n`)
  expect((await ask()).out).toBe('new_task\n')
  project.write('tasks.ts', 'export const broken = (\n')
  expect(await ask()).toMatchObject({ status: 0, out: '', err: '' })
})

it('an unknown shell is named, and known ones are offered', async () => {
  const { status, err } = await project.run(built.slipway, ['completion', 'bahs'])
  expect([status, err]).toEqual([2, 'error: there is no completion for "bahs"\n  → Did you mean bash?\n'])
})
