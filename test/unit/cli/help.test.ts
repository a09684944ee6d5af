import { describe, expect, it } from 'vitest'
import { helpText, helpTopics } from '../../../src/cli/help-topics.ts'
import { coreOptions } from '../../../src/cli/options.ts'
import { taskHelp, tasksHelp } from '../../../src/cli/parse.ts'

describe('help', () => {
  it.each(Object.keys(helpTopics))('about %s fits a screen', (topic) => {
    const lines = helpText(topic).split('\n')
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(120)
    expect(lines.length).toBeLessThanOrEqual(26)
  })

  it('names only options that there are', () => {
    const known = coreOptions.flatMap(({ short, long }) => [`--${long}`, ...(short ? [`-${short}`] : [])])
    const ofOthers = ['--release', '--resume', '--undo', '-G']
    const named = Object.values(helpTopics).flatMap(({ text }) =>
      [...text.matchAll(/(?<=^|\s)--?[a-z][\w-]*/gim)].map(([option]) => option),
    )
    expect(named.filter((option) => !known.includes(option) && !ofOthers.includes(option) && option !== '-l')).toEqual(
      [],
    )
  })

  it('lists its topics, and suggests one', () => {
    for (const topic of Object.keys(helpTopics)) expect(helpText(undefined)).toContain(topic)
    expect(() => helpText('hots')).toThrow('there is no help about "hots"')
    expect(helpText('dry_run')).toBe(helpText('dry-run'))
  })

  it('of tasks names every option', () => {
    for (const { long } of coreOptions) expect(tasksHelp(100)).toContain(`--${long}`)
  })

  it('of a task shows both ways to call it', () => {
    const text = taskHelp(
      {
        name: 'run',
        about: 'Run a command.\nIn the current version.',
        params: [
          {
            name: 'release',
            kind: 'value',
            placeholder: 'deployment',
            required: true,
            choices: ['staging'],
            help: 'where',
          },
          { name: 'detach', kind: 'flag', placeholder: 'yes|no', required: false },
          { name: 'words', kind: 'rest', placeholder: '-- words', required: false },
        ],
      },
      80,
    )
    expect(text).toMatchInlineSnapshot(`
      "Usage: tasks run --release <deployment> [options] -- words

      Run a command.
      In the current version.

      Options:
        --release <deployment>  where; required (choices: "staging")
        --detach

      Examples:
        tasks run:release=staging -- <words>
        tasks run --release staging -- <words>
        tasks run:release=staging --dry-run -- <words>

      "
    `)
  })
})
