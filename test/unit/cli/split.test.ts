import { describe, expect, it } from 'vitest'
import { type KnownTasks, splitCalls, splitCore } from '../../../src/cli/split.ts'
import type { UsageError } from '../../../src/events/errors.ts'
import { type ParamInfo, type TaskInfo, taskNamed } from '../../../src/tasks/collect.ts'

const value = (name: string): ParamInfo => ({ name, kind: 'value', placeholder: 'text', required: true })
const flag = (name: string): ParamInfo => ({ name, kind: 'flag', placeholder: 'yes|no', required: false })
const rest: ParamInfo = { name: 'words', kind: 'rest', placeholder: '-- words', required: false }
const task = (name: string, ...params: ParamInfo[]): [string, TaskInfo] => [name, { name, about: name, params }]

const tasks = new Map([
  task('deploy_staging'),
  task('start_app', value('release')),
  task('tail_app_log', value('release'), flag('follow'), value('since')),
  task('run', value('release'), rest),
  task('db.copy', value('from'), value('to')),
])
const known: KnownTasks = {
  find: (typed) => taskNamed(tasks, typed)?.[1],
  names: [...tasks.keys()],
  default: 'deploy_staging',
  functions: new Set(['to_minutes']),
}

const read = (...argv: string[]) => {
  const line = splitCore(argv)
  const calls = splitCalls(line.words, line.rest, known).map(({ task, given }) => [task, given])
  return { core: line.core, calls }
}
const calls = (...argv: string[]) => read(...argv).calls
const refusal = (...argv: string[]) => {
  try {
    read(...argv)
  } catch (error) {
    const { code, message, next, exitCode } = error as UsageError
    return { code, message, next, exitCode }
  }
  throw new Error('nothing was refused')
}

describe('calls', () => {
  it.each<[string[], unknown[]]>([
    [[], [['deploy_staging', {}]]],
    [['deploy_staging'], [['deploy_staging', {}]]],
    [['deploy-staging'], [['deploy_staging', {}]]],
    [['start_app:release=staging'], [['start_app', { release: 'staging' }]]],
    [['start_app:staging'], [['start_app', { release: 'staging' }]]],
    [['start_app', '--release', 'staging'], [['start_app', { release: 'staging' }]]],
    [['start-app', '--release=staging'], [['start_app', { release: 'staging' }]]],
    [['start_app:'], [['start_app', {}]]],
    [['start_app:release='], [['start_app', { release: '' }]]],
    [['start_app:release=a\\,b'], [['start_app', { release: 'a,b' }]]],
    [['start_app:a\\=b'], [['start_app', { release: 'a=b' }]]],
    [['start_app:release=a=b=c'], [['start_app', { release: 'a=b=c' }]]],
    [['start_app:release=a\\=b'], [['start_app', { release: 'a=b' }]]],
    [['start_app', '--release=a\\=b=c'], [['start_app', { release: 'a\\=b=c' }]]],
    [['start_app:release=C:\\temp'], [['start_app', { release: 'C:\\temp' }]]],
    [['start_app', '--release', '-1'], [['start_app', { release: '-1' }]]],
    [['tail_app_log:staging,follow'], [['tail_app_log', { release: 'staging', follow: 'true' }]]],
    [['tail_app_log:follow=no'], [['tail_app_log', { follow: 'no' }]]],
    [['tail_app_log', '--follow', '--since', '10m'], [['tail_app_log', { follow: 'true', since: '10m' }]]],
    [['tail_app_log', '--no-follow'], [['tail_app_log', { follow: 'false' }]]],
    [['db.copy:a,b'], [['db.copy', { from: 'a', to: 'b' }]]],
    [['run:staging', '--', 'ls', '-l', '--', 'x'], [['run', { release: 'staging', words: ['ls', '-l', '--', 'x'] }]]],
    [
      ['start_app:staging', 'deploy_staging', 'tail_app_log', '--release', 'staging'],
      [
        ['start_app', { release: 'staging' }],
        ['deploy_staging', {}],
        ['tail_app_log', { release: 'staging' }],
      ],
    ],
  ])('%j', (argv, expected) => {
    expect(calls(...argv)).toEqual(expected)
  })
})

describe('core options', () => {
  it.each<[string[], string[], unknown[]]>([
    [['-n', 'deploy_staging'], ['-n'], [['deploy_staging', {}]]],
    [['deploy_staging', '-n'], ['-n'], [['deploy_staging', {}]]],
    [['-H', 'web1,web2', 'deploy_staging'], ['-H', 'web1,web2'], [['deploy_staging', {}]]],
    [['-Hweb1', 'deploy_staging'], ['-Hweb1'], [['deploy_staging', {}]]],
    [['-nvH', 'web1', 'deploy_staging'], ['-nvH', 'web1'], [['deploy_staging', {}]]],
    [['--hosts=web1', 'deploy_staging'], ['--hosts=web1'], [['deploy_staging', {}]]],
    [['start_app', '-n', '--release', 'staging'], ['-n'], [['start_app', { release: 'staging' }]]],
    [['run:staging', '--', '-n'], [], [['run', { release: 'staging', words: ['-n'] }]]],
  ])('%j', (argv, core, expected) => {
    expect(read(...argv)).toEqual({ core, calls: expected })
  })
})

describe('what is refused', () => {
  it.each<[string[], string, string, string?]>([
    [['start_ap'], 'unknown-task', 'there is no task "start_ap"', 'Did you mean start_app?'],
    [['xyzzy'], 'unknown-task', 'there is no task "xyzzy"', '`tasks --list` shows them all.'],
    [
      ['doctor'],
      'unknown-task',
      'there is no task "doctor"',
      '`slipway doctor` is a command beside the tasks; `tasks --list` shows them all.',
    ],
    [['toString'], 'unknown-task', 'there is no task "toString"', '`tasks --list` shows them all.'],
    [
      ['to-minutes'],
      'unknown-task',
      'there is no task "to-minutes"',
      "to_minutes is exported as a plain function: make it a task with `task({ about: '…', run: … })`.",
    ],
    [['start_app', 'staging'], 'unknown-task', 'there is no task "staging"'],
    [
      ['start_app', 'xyzzy'],
      'unknown-task',
      'there is no task "xyzzy"',
      'If it is a value of start_app, write start_app:xyzzy. `tasks --list` shows them all.',
    ],
    [['start_app:relase=x'], 'unknown-parameter', 'start_app has no parameter "relase"', 'Did you mean release?'],
    [
      ['start_app', '--relase', 'x'],
      'unknown-parameter',
      'start_app has no parameter "relase", and tasks no option --relase',
      'Did you mean --release?',
    ],
    [
      ['deploy_staging:x=1'],
      'unknown-parameter',
      'deploy_staging has no parameter "x"',
      'deploy_staging takes no parameters.',
    ],
    [
      ['deploy_staging:x'],
      'too-many-values',
      'deploy_staging has no place for "x"',
      'See `tasks deploy_staging --help`; a comma in a value is written \\,',
    ],
    [['start_app', '--release'], 'missing-value', '--release needs a value: text'],
    [['start_app', '--release', '--follow'], 'missing-value', '--release needs a value: text'],
    [['deploy_staging', '-H'], 'missing-value', '-H needs a value: HOSTS'],
    [['-H', '--', 'ls'], 'missing-value', '-H needs a value: HOSTS'],
    [['start_app:a,release=b'], 'given-twice', 'start_app: release is given twice'],
    [['-Z'], 'unknown-option', 'tasks has no option -Z', 'See `tasks --help`.'],
    [
      ['deploy_staging', '--', 'ls'],
      'unused-words',
      'nothing takes the words after --: ls',
      'deploy_staging takes none; see `tasks deploy_staging --help`.',
    ],
  ])('%j', (argv, code, message, next) => {
    const refused = refusal(...argv)
    expect(refused).toMatchObject({ code, message, exitCode: 2 })
    if (next !== undefined) expect(refused.next).toBe(next)
  })

  it('an unknown option without a default task is not taken for a parameter', () => {
    const { default: _, ...withoutDefault } = known
    expect(() => splitCalls(['--hosst'], undefined, withoutDefault)).toThrow('tasks has no option --hosst')
  })
})
