import { expect, test } from 'vitest'
import { shownArgv } from '../../../src/cli/shown.ts'
import { rest, string } from '../../../src/tasks/params.ts'
import { shownValues } from '../../../src/tasks/values.ts'

test('what is kept of a command line has no values of passwords, tokens and the like', () => {
  expect(shownArgv(['login:user=ada,password=b\\,c,port=22', '--api-key', 'xyz', '--token=abc', '-v'])).toEqual([
    'login:user=ada,password=•••,port=22',
    '--api-key',
    '•••',
    '--token=•••',
    '-v',
  ])
})

test('settings behind the dashes are kept by name alone', () => {
  expect(
    shownArgv(['set_settings:release=staging', '--', 'smtp.host=a=b', 'DATABASE_URL=postgres://u:p@h', 'x=']),
  ).toEqual(['set_settings:release=staging', '--', 'smtp.host=•••', 'DATABASE_URL=•••', 'x='])
  expect(shownArgv(['run', '--', 'ls', '--color=auto', 'a b'])).toEqual(['run', '--', 'ls', '--color=auto', 'a b'])
})

test('so are the parameters of a task', () => {
  const params = { user: string(), password: string(), pairs: rest() }
  expect(shownValues(params, { user: 'ada', password: 'hunter2', pairs: ['a.b=hunter2', 'c'] })).toEqual({
    user: 'ada',
    password: '•••',
    pairs: 'a.b=••• c',
  })
})
