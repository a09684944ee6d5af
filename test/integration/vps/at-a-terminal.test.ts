/** What a person at a terminal answers reaches the host: questions of init_db, and commands of one's own. */
import { execFileSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Built, buildSlipway, repository } from '../../built.ts'
import { atTerminal as typed } from '../../servers/terminal.ts'
import { createProject, type Project } from './host.ts'

let built: Built
let project: Project
beforeAll(async () => {
  ;[built, project] = await Promise.all([buildSlipway(), createProject()])
  copyFileSync(join(repository, 'tasks.ts'), join(project.dir, 'tasks.ts'))
  // Nobody but who sits there knows the answers.
  project.configure((text) => text.replace(/^PONY_\w+ = .*\n/gm, ''))
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
  })
}, 60_000)
afterAll(async () => {
  await project?.stop()
  built?.remove()
})

const atTerminal = (words: string, answers: [question: RegExp, answer: string][] = []) =>
  typed(`'${process.execPath}' '${built.tasks}' -S '${project.sshConfigFile}' ${words}`, {
    cwd: project.dir,
    env: { PATH: process.env['PATH'], HOME: project.dir, XDG_CACHE_HOME: join(project.dir, 'cache') },
    answers,
  })

test('init_db asks at the terminal, on the host, and a password is not shown', async () => {
  const { status, shown } = await atTerminal('init_staging_db', [
    [/Link to the club's page: /, 'https://club.example.org/'],
    [/E-mail address of the organiser: /, 'typed@example.org'],
    [/Password of the administrator: /, 'typed-and-not-shown'],
  ])
  expect({ status, shown: status === 0 ? '' : shown }).toEqual({ status: 0, shown: '' })
  expect(shown).not.toContain('typed-and-not-shown')
  const database = join(project.release, 'shared/db/pony.sqlite')
  const email = "SELECT value FROM settings WHERE name = 'organiser_email'"
  expect(execFileSync('/usr/bin/sqlite3', [database, email]).toString().trim()).toBe('typed@example.org')
}, 60_000)

test('a command of one’s own has the terminal, and its exit status is passed on', async () => {
  const { status, shown } = await atTerminal(
    `run:release=staging -- sh -c 'test -t 0 && printf "name? " && read name && echo "hello $name" && exit 5'`,
    [[/name\? /, 'ann']],
  )
  expect(shown).toContain('hello ann')
  expect(status).toBe(5)
}, 60_000)
