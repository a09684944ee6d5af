import { describe, expect, it } from 'vitest'
import { complete, completionLines, type Known } from '../../../src/cli/complete.ts'
import type { ParamInfo } from '../../../src/tasks/collect.ts'

const release: ParamInfo = {
  name: 'release',
  kind: 'value',
  placeholder: 'deployment',
  required: true,
  choices: ['staging', 'production'],
  help: 'which',
}
const known: Known = {
  tasks: [
    { name: 'start_app', about: 'Start the app\nMore.', params: [release] },
    { name: 'status', about: 'How it is', params: [] },
    {
      name: 'tail_app_log',
      about: 'Log',
      params: [release, { name: 'follow', kind: 'flag', placeholder: 'yes|no', required: false }],
    },
    { name: 'secret_task', about: 'Hidden', hidden: true, params: [] },
  ],
  hosts: ['web1', 'web2', 'deploy@db'],
  roles: ['web', 'db'],
}
const values = (...words: string[]) => complete(words, known).map(({ value }) => value)

describe('completion', () => {
  it.each<[string[], string[]]>([
    [[''], ['start_app:', 'status', 'tail_app_log:']],
    [['st'], ['start_app:', 'status']],
    [['start-'], ['start-app:']],
    [
      ['status', 's'],
      ['start_app:', 'status'],
    ],
    [['start_app:'], ['start_app:release=']],
    [['start_app:st'], ['start_app:staging']],
    [['start_app:release='], ['start_app:release=staging', 'start_app:release=production']],
    [['start_app:release=p'], ['start_app:release=production']],
    [['tail_app_log:staging,'], ['tail_app_log:staging,release=', 'tail_app_log:staging,follow']],
    [['tail_app_log:release=staging,f'], ['tail_app_log:release=staging,follow']],
    [['tail_app_log', '--rel'], ['--release']],
    [
      ['tail_app_log', '--release', ''],
      ['staging', 'production'],
    ],
    [['tail_app_log', '--fo'], ['--follow']],
    [['--dr'], ['--dry-run']],
    [
      ['-H', 'w'],
      ['web1', 'web2'],
    ],
    [
      ['--hosts', 'web1,'],
      ['web1,web2', 'web1,deploy@db'],
    ],
    [
      ['-R', ''],
      ['web', 'db'],
    ],
    [['-f', ''], []],
    [['nothing:'], []],
    [['status', '--', 'l'], []],
  ])('of %j', (words, expected) => {
    expect(values(...words)).toEqual(expected)
  })

  it('says what each is, for the shells that show it', () => {
    const candidates = complete(['sta'], known)
    expect(completionLines(candidates, true)).toBe('start_app:\tStart the app\nstatus\tHow it is\n')
    expect(completionLines(candidates, false)).toBe('start_app:\nstatus\n')
  })
})
