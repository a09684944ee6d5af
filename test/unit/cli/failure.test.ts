/** Every error passes one place on its way to a person: what the option parser says, and what a task file throws. */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { failureRecord } from '../../../src/cli/failure.ts'
import { slipwayCommand, tasksCommand } from '../../../src/cli/index.ts'
import type { Io } from '../../../src/cli/io.ts'
import { foreignError, SlipwayError } from '../../../src/events/index.ts'
import { failureLines } from '../../../src/output/failure.ts'
import { rememberWhoThrew } from '../../../src/tasks/record.ts'

let out = ''
let err = ''
const io: Io = {
  out(text) {
    out += text
  },
  err(text) {
    err += text
  },
  cwd: tmpdir(),
  env: { NO_COLOR: '1' },
  stdin: {},
  stdout: {},
  stderr: {},
  onBrokenPipe() {},
}
beforeEach(() => {
  out = ''
  err = ''
})

describe('words that a command does not take', () => {
  test.each<[string, string, string]>([
    ['slipway --oops', 'slipway has no option --oops', 'See `slipway --help`.'],
    ['slipway --versio', 'slipway has no option --versio', 'Did you mean --version?'],
    ['slipway hostory', 'slipway has no command "hostory"', 'Did you mean history?'],
    ['slipway frobnicate', 'slipway has no command "frobnicate"', 'See `slipway --help`.'],
    ['slipway doctor --jsn', 'slipway doctor has no option --jsn', 'Did you mean --json?'],
    ['slipway doctor now', 'slipway doctor was given more words than it takes', 'See `slipway doctor --help`.'],
    ['slipway run', 'slipway run needs a word more: <deployment>', 'See `slipway run --help`.'],
    ['slipway report -o', '--output needs a value: -o, --output <FILE>', 'See `slipway report --help`.'],
    ['slipway init -t vsp', '--target: "vsp" is not one of vps, heroku', 'See `slipway init --help`.'],
    ['slipway history -c many', '"many" is not a number above 0', 'For example: slipway history -c 5'],
    ['slipway help nonsense', 'there is no help about "nonsense"', 'slipway help'],
    ['slipway completion tcsh', 'there is no completion for "tcsh"', 'bash'],
    ['slipway completion', 'which shell?', 'bash'],
    ['slipway show', `no run has been logged in ${tmpdir()}`, 'Run a task first'],
    ['slipway sandbox', 'sandbox: which command?', 'One of: up, status, down, reset.'],
    ['slipway sandbox upp', 'sandbox has no command upp', 'One of: up, status, down, reset.'],
    ['slipway sandbox status now', 'sandbox status takes no now', 'slipway sandbox'],
    ['tasks --step --yes', '--step asks, and --yes answers: they exclude each other', 'Leave one of them out.'],
    ['tasks -P --serial', '--parallel and --serial exclude each other', 'Leave one of them out.'],
    ['tasks -z many', '--pool-size: "many" is not a number of hosts', 'For example: -z 10'],
    ['tasks -H', '-H needs a value: HOSTS', 'See `--help`'],
    ['tasks -f /nowhere/tasks.ts -l', 'there is no task file /nowhere/tasks.ts', 'tasks -f'],
  ])('%s', async (line, message, next) => {
    const [command, ...argv] = line.split(' ')
    const status = await (command === 'tasks' ? tasksCommand : slipwayCommand)(argv, io)
    expect(status).toBe(2)
    expect(out).toBe('')
    expect(err.split('\n')[0]).toBe(`error: ${message}`)
    expect(err).toMatch(/\n {2}→ /)
    expect(err).toContain(next)
    expect(err).not.toMatch(/\bundefined\b|\[object|^error: error:|commander|\n\s+at /)
  })
})

describe('what a task throws', () => {
  const project = join(process.cwd(), 'project')
  const here = new Error('no')
  here.stack = `Error: no\n    at run (${project}/tasks.ts:12:5)\n    at node:internal/main:1:1`

  test('is told with its line, its task and a next step', () => {
    rememberWhoThrew(here, 'deploy_staging')
    rememberWhoThrew(here, 'deploy_all')
    expect(failureLines(failureRecord(foreignError(here), project))).toEqual([
      'error: project/tasks.ts:12:5: no',
      '  The task deploy_staging ended there; what was done before it stays done.',
      '  → `--debug` shows the stack.',
    ])
  })

  test('has its stack with --debug alone', () => {
    expect(failureLines(failureRecord(foreignError(here), project), { debug: true }).join('\n')).toContain(
      `at run (${project}/tasks.ts:12:5)`,
    )
  })

  test('stays as it is where it is Slipway’s own', () => {
    expect(failureRecord(new SlipwayError('own', 'mine', { next: 'Do it.' }), project)).toMatchObject({
      code: 'own',
      message: 'mine',
      next: 'Do it.',
    })
  })
})
