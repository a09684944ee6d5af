/** Data that came, and a migration that then fails: what is true is said, and what it says to type makes up for it. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import { createVpsDeployment } from '../../../src/targets/vps/create.ts'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
import { ask, createProject, type Project } from './host.ts'
import { processesOf } from './life.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
  project.configure((text) =>
    text
      // It fails once it has begun, while a file is there.
      .replace(/^migrate = .*$/m, '$& && test ! -e "$SLIPWAY_SHARED/broken" || { echo no such column >&2; exit 3; }')
      .replace('[production]\ntarget = vps\n', '[production]\ntarget = vps\nrelease = r1\n')
      .replace(
        '[app.workers]\n',
        `[app.hooks]\nafter_restore = touch "$SLIPWAY_SHARED/hook"\nafter_clone = touch "$SLIPWAY_SHARED/hook"\n\n[app.shared]\nmedia = directory\n\n[app.workers]\n`,
      ),
  )
  const made = async (deployment: VpsDeployment) => {
    await deployment.upload()
    await deployment.install()
    await deployment.database.init()
    await deployment.server.start()
    await deployment.workers.start()
  }
  await project.run(made)
  await project.run(made, { deployment: 'production' })
  sql('ponyr2', "INSERT INTO settings VALUES ('from', 'staging')")
  sql('ponyr1', "INSERT INTO settings VALUES ('from', 'production')")
  mkdirSync(shared('ponyr1', 'media'), { recursive: true })
  writeFileSync(shared('ponyr1', 'media/photo.jpg'), 'a photo')
}, 90_000)
afterAll(() => project?.stop())

const shared = (release: string, path: string) => join(project.home, 'webapps', release, 'shared', path)
const sqlite = (file: string, text: string) => execFileSync('/usr/bin/sqlite3', [file, text]).toString().trim()
const sql = (release: string, text: string) => sqlite(shared(release, 'db/pony.sqlite'), text)
const from = "SELECT value FROM settings WHERE name = 'from'"
const broken = () => shared('ponyr2', 'broken')
const hook = () => existsSync(shared('ponyr2', 'hook'))
const runs = async () => ({
  status: (await ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')).status,
  programs: Object.keys(processesOf(project.release))
    .map((name) => name.replace(/^app-.$/, 'app'))
    .sort(),
})
const running = { status: 200, programs: ['app', 'mailer-1'] }

/** The error of `operation` while migrations fail; the folder that it says has what was there before. */
async function failing(operation: (staging: VpsDeployment) => Promise<unknown>) {
  writeFileSync(broken(), '')
  const error = await project.run(operation).then(
    () => new Error('it did not fail'),
    (reason) => reason,
  )
  rmSync(broken())
  expect(error).toMatchObject({
    code: 'migrate-failed',
    message: expect.stringMatching(/^migrate: python3 -m pony\.migrate .* failed on pony-host$/),
    detail: expect.stringContaining('no such column'),
    state: expect.stringMatching(
      /^main.*: replaced as a whole, and not migrated, or in part; what was there is in \S+, or on its server as …_before_…\. What ran is started again with it\./,
    ),
  })
  return { error, kept: /what was there is in (\S+),/.exec(error.state)?.[1] as string }
}

const clone = async (staging: VpsDeployment) => {
  const config = loadConfig(project.dir)
  await createVpsDeployment(config, config.deployments['production'] as VpsConfig).database.copyTo(staging)
}

test('after a restore: the data is that of the backup, the app and its workers run, and migrating again is enough', async () => {
  const { value: backup } = await project.run((staging) => staging.database.backup())
  sql('ponyr2', "UPDATE settings SET value = 'later' WHERE name = 'from'")
  const { error, kept } = await failing((staging) => staging.database.restore(backup.id))
  expect(error.state).toMatch(/The hook after_restore was not run\.$/)
  expect(error.next).toContain('tasks migrate:release=staging')
  expect(error.next).toContain('tasks run:release=staging')
  expect(sql('ponyr2', from)).toBe('staging')
  expect(sqlite(join(kept, 'main.sqlite'), from)).toBe('later')
  expect(await runs()).toEqual(running)
  expect(hook()).toBe(false)
  await project.run((staging) => staging.database.migrate())
  await project.run((staging) => staging.database.restore(backup.id))
  expect(hook()).toBe(true)
  rmSync(shared('ponyr2', 'hook'))
}, 90_000)

test('a hook before it that fails counts as that migration: it stops it, and the app runs', async () => {
  const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
  const { value: backup } = await project.run((staging) => staging.database.backup())
  project.configure((text) =>
    text.replace('[app.hooks]\n', '[app.hooks]\nbefore_migrate = echo cron runs on >&2; exit 4\n'),
  )
  for (const operation of [
    (staging: VpsDeployment) => staging.database.migrate(),
    (staging: VpsDeployment) => staging.database.restore(backup.id),
  ]) {
    await expect(project.run(operation)).rejects.toMatchObject({
      code: 'migrate-failed',
      message: expect.stringMatching(/^before migrate: .* failed on pony-host$/),
      detail: expect.stringContaining('cron runs on'),
      next: expect.stringContaining('tasks migrate:release=staging'),
    })
    expect(await runs()).toEqual(running)
  }
  project.configure(() => plain)
  await project.run((staging) => staging.database.migrate())
}, 90_000)

test('after a clone: staging has the data and not yet the media, runs with it, and cloning again brings all', async () => {
  const { error, kept } = await failing(clone)
  expect(error.state).toMatch(/Its media are as they were\. The hook after_clone was not run\.$/)
  expect(error.next).toBe('Correct what it says, and clone again: `tasks clone_production_db_to_staging`.')
  expect(sql('ponyr2', from)).toBe('production')
  expect(sqlite(join(kept, 'main.sqlite'), from)).toBe('staging')
  expect(existsSync(shared('ponyr2', 'media/photo.jpg'))).toBe(false)
  expect(hook()).toBe(false)
  expect(await runs()).toEqual(running)
  expect(sql('ponyr1', from)).toBe('production')
  await project.run(clone)
  expect(readFileSync(shared('ponyr2', 'media/photo.jpg'), 'utf8')).toBe('a photo')
  expect(hook()).toBe(true)
  expect(await runs()).toEqual(running)
}, 90_000)

test('after the clone that comes with a deploy: the new version is said to be current, and deploying again is right', async () => {
  project.configure((text) => text.replace('[staging]\n', '[staging]\nclone_on_deploy = production\n'))
  // Its own migration goes well; the one of the data that came does not.
  const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
  project.configure((text) =>
    text.replace('[app.hooks]\n', '[app.hooks]\nafter_switch = touch "$SLIPWAY_SHARED/broken"\n'),
  )
  const error = await project
    .run((staging) => staging.deploy())
    .then(
      () => new Error('it did not fail'),
      (reason) => reason,
    )
  rmSync(broken())
  const { value: versions } = await project.run((staging) => staging.versions())
  const current = versions.find((version) => version.current)?.id
  expect(error).toMatchObject({
    code: 'migrate-failed',
    state: expect.stringMatching(
      new RegExp(
        `^The version ${current} is installed, and the current one: a restart takes it up\\. Of the data: main: replaced`,
      ),
    ),
    next: expect.stringContaining('tasks clone_production_db_to_staging'),
  })
  expect(await runs()).toEqual(running)
  project.configure(() => plain)
  await project.run((staging) => staging.deploy())
  expect(await runs()).toEqual(running)
}, 90_000)
