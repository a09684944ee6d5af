/** A dry run of a deploy lists the files and shows what would change in settings and rendered files; no secret with it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunEvent } from '../../../src/events/index.ts'
import { settingsShown } from '../../../src/targets/vps/settings-shown.ts'
import { createProject, type Project } from './host.ts'

let project: Project
const password = 'an-old-and-secret-value'
beforeAll(async () => {
  project = await createProject()
  project.edit('.env', (text) => `${text}MAIL=${password}\n`)
  project.edit('config/staging.ini', (text) => `${text}mail = {{ secret:MAIL }}\ncolour = red\n`)
  project.configure((text) =>
    text.replace('[staging]', '[staging.environment]\nPONY_MAIL = plain\nPONY_KEY = secret:MAIL\n\n[staging]'),
  )
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
  })
}, 60_000)
afterAll(() => project.stop())

const diffs = (events: readonly RunEvent[]) =>
  Object.fromEntries(
    events.flatMap((event) =>
      event.type === 'held-back' && event.diff ? [[event.display.replace(/^.*\//, ''), event.diff.split('\n')]] : [],
    ),
  )

test('nothing is shown of files that stay as they are', async () => {
  const { events } = await project.run((staging) => staging.install().catch(() => {}), { dryRun: true })
  expect(diffs(events)).toEqual({})
}, 30_000)

test('settings and rendered files show a unified diff, a secret’s line its name alone', async () => {
  project.configure((text) =>
    text
      .replace('PONY_MAIL = plain', 'PONY_MAIL = other')
      .replace('PONY_KEY = secret:MAIL', 'PONY_TOKEN = secret:MAIL')
      .replace('app = logs/pony.log', 'app = logs/other.log'),
  )
  project.edit('config/staging.ini', (text) => text.replace('red', 'blue').replace('mail = {{ secret:MAIL }}\n', ''))
  project.configure((text) => text.replace('exec python3 -m pony.web', 'exec python3 -O -m pony.web'))
  const { events } = await project.run((staging) => staging.install().catch(() => {}), { dryRun: true })
  const found = diffs(events)
  expect(found['staging.ini']).toEqual(
    expect.arrayContaining([
      '-mail = •••',
      '-colour = red',
      '+colour = blue',
      expect.stringMatching(/^--- \/.*staging\.ini$/),
    ]),
  )
  expect(found['start']?.filter((line) => /^[-+].*pony\.web/.test(line)).map((line) => line[0])).toEqual([
    ...['-', '+', '-', '+'],
  ])
  expect(found['staging.environment']?.slice(3)).toEqual([
    ...['-export PONY_MAIL=plain', '-export PONY_KEY=•••', '+export PONY_MAIL=other', '+export PONY_TOKEN=•••', ''],
  ])
  expect(found['rotate']?.filter((line) => /^[-+][^-+]/.test(line)).join('\n')).toMatch(
    /^-.*pony\.log.*\n\+.*other\.log/,
  )
  expect(found['boot']).toBeUndefined()
  expect(JSON.stringify(events)).not.toContain(password)
  expect(JSON.stringify(events)).not.toContain(
    readFileSync(join(project.release, 'settings/active'), 'utf8').match(/key = (\S+)/)?.[1],
  )
  expect(project.read('webapps/ponyr2/settings/staging.ini')).toContain('colour = red')
}, 30_000)

test('a value is shown where the template has it as plain text, under a name that sounds like no secret', () => {
  const shown = settingsShown(
    '; note\n[app]\ntitle = Pony\nkey = {{ generate:KEY }}\napi_token = x\nmail = {{ secret:M }}\n',
  )
  expect(shown('; it was hunter2\n[app]\ntitle = Old\nkey = abc\napi_token = y\nmail = z\ngone = w\n  more\n')).toBe(
    '•••\n[app]\ntitle = Old\nkey = •••\napi_token = •••\nmail = •••\ngone = •••\n•••\n',
  )
})
