import { describe, expect, it } from 'vitest'
import { collectTasks, describeTasks, taskNamed } from '../../../src/tasks/collect.ts'
import { choice, flag, string, task } from '../../../src/tasks/index.ts'

const noop = () => task({ about: 'does nothing', run: () => {} })
const collect = (exports: Record<string, unknown>) => collectTasks(exports, 'tasks.ts', (name) => name === 'json')
const code = (fn: () => unknown) => {
  try {
    fn()
  } catch (error) {
    return (error as { code: string }).code
  }
  return undefined
}

describe('the exports of a task file', () => {
  it('become tasks under their names; a namespace is a prefix', () => {
    const inner = noop()
    const { tasks } = collect({ a: noop(), b: 'not a task', db: { copy: inner, size: 3 } })
    expect([...tasks.keys()]).toEqual(['a', 'db.copy'])
    expect(inner.taskName).toBe('db.copy')
  })

  it('name the default task as it is exported, or default', () => {
    const a = noop()
    expect(collect({ a, default: a }).default).toBe('a')
    expect(collect({ a, default: noop() }).default).toBe('default')
    expect(collect({ a }).default).toBeUndefined()
  })

  it('give a namespace its own default under its name', () => {
    const { tasks } = collect({ db: { default: noop(), copy: noop() } })
    expect([...tasks.keys()]).toEqual(['db', 'db.copy'])
  })

  it('that are plain functions are no tasks, and are known as what they are', () => {
    const { tasks, functions } = collect({ a: noop(), helper: () => {}, db: { copy: noop(), size() {} } })
    expect([[...tasks.keys()], [...functions]]).toEqual([
      ['a', 'db.copy'],
      ['helper', 'db.size'],
    ])
    expect(() => collect({ deploy: async () => {} })).toThrowError(
      expect.objectContaining({
        code: 'no-tasks',
        next: "deploy is exported as a plain function: make it a task with `task({ about: '…', run: … })`.",
      }),
    )
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['no task at all', { x: 1 }, 'no-tasks'],
    ['a default that is not a task', { a: noop(), default: 'a' }, 'bad-default'],
    ['two spellings of one name', { 'a-b': noop(), a_b: noop() }, 'name-clash'],
    ['a task without a description', { a: task({ run: () => {} } as never) }, 'bad-task'],
    ['a task without a function', { a: task({ about: 'a' } as never) }, 'bad-task'],
    ['a parameter without a type', { a: task({ about: 'a', params: { x: 'text' } as never, run() {} }) }, 'bad-task'],
    [
      'a parameter that is an option',
      { a: task({ about: 'a', params: { json: flag() }, run() {} }) },
      'reserved-parameter',
    ],
  ])('are refused with %s', (_what, exports, expected) => {
    expect(code(() => collect(exports))).toBe(expected)
  })
})

it('a task is found in either spelling', () => {
  const { tasks } = collect({ deploy_staging: noop(), 'stop-app': noop() })
  expect(taskNamed(tasks, 'deploy-staging')?.[0]).toBe('deploy_staging')
  expect(taskNamed(tasks, 'stop_app')?.[0]).toBe('stop-app')
  expect(taskNamed(tasks, 'deploy')).toBeUndefined()
})

it('tasks are described as plain data', () => {
  const a = task({
    about: 'Start the app\nIn full.',
    group: 'App',
    params: { release: choice(['staging', 'production']).about('which'), name: string().optional() },
    run: () => {},
  })
  expect(describeTasks(collect({ a }))).toEqual([
    {
      name: 'a',
      about: 'Start the app\nIn full.',
      group: 'App',
      params: [
        {
          name: 'release',
          kind: 'value',
          placeholder: 'staging|production',
          help: 'which',
          required: true,
          choices: ['staging', 'production'],
        },
        { name: 'name', kind: 'value', placeholder: 'text', required: false },
      ],
    },
  ])
})
