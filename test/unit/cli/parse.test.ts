import { describe, expect, test } from 'vitest'
import { parseCore } from '../../../src/cli/parse.ts'

const run = (words: string[], env: NodeJS.ProcessEnv = {}) => parseCore(words, env).run

describe('the options before a task', () => {
  test('name the ssh configuration; the environment does where they do not', () => {
    expect(run([]).sshConfigFile).toBeUndefined()
    expect(run([], { SLIPWAY_SSH_CONFIG: 'a' }).sshConfigFile).toBe('a')
    expect(run(['--ssh-config', 'b'], { SLIPWAY_SSH_CONFIG: 'a' }).sshConfigFile).toBe('b')
    expect(run(['-S', 'b']).sshConfigFile).toBe('b')
    expect(run([], { SLIPWAY_SSH_CONFIG: '' }).sshConfigFile).toBeUndefined()
  })

  test('choose hosts: by name, by role, without some, together or one after the other', () => {
    expect(run(['-H', 'web[1-2]', '-H', 'db1', '-R', 'worker', '-x', 'web2', '-P', '-z', '3']).selection).toEqual({
      hosts: ['web1', 'web2', 'db1'],
      roles: ['worker'],
      exclude: ['web2'],
      parallel: true,
      poolSize: 3,
    })
    expect(run(['--serial']).selection).toEqual({ parallel: false })
    expect(run([]).selection).toBeUndefined()
  })

  test('say how much is shown and what is done', () => {
    expect(run([])).toMatchObject({ verbosity: 'normal' })
    expect(run(['-q'])).toMatchObject({ verbosity: 'quiet' })
    expect(run(['-v'])).toMatchObject({ verbosity: 'verbose' })
    expect(run(['--debug'])).toMatchObject({ verbosity: 'debug' })
    expect(run(['-n'])).toMatchObject({ dryRun: true })
    expect(run(['--plan', '--yes'])).toMatchObject({ planOnly: true, yes: true })
  })
})
