/** The line to the host is cut in the middle of each operation on data: what is said is true, and nothing is lost. */
import { execFileSync } from 'node:child_process'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import type { RunEvent } from '../../../src/events/index.ts'
import { createVpsDeployment } from '../../../src/targets/vps/create.ts'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
import { type Cut, cutAway } from '../../servers/cut.ts'
import { cutAt as lineCutAt, unlock } from './cut-at.ts'
import { ask, createProject, type Project } from './host.ts'

let project: Project
let line: Cut
let sshConfigFile: string

beforeAll(async () => {
  project = await createProject()
  // A migration that lasts until it is let go: the cut comes in the middle of it.
  project.configure((text) =>
    text.replace(
      'migrate = python3 -m pony.migrate\n',
      'migrate = python3 -m pony.migrate && while [ -e "$SLIPWAY_SHARED/wait" ]; do sleep 0.05; done\n',
    ),
  )
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
  })
  ;({ line, sshConfigFile } = await cutAway(project.sshConfigFile, project.dir))
}, 60_000)
afterAll(async () => {
  line?.close()
  await project?.stop()
})
beforeEach(() => line.mend())

const cutAt = (
  when: (event: RunEvent) => boolean,
  fn: (staging: VpsDeployment) => Promise<unknown>,
  options: { back?: boolean } = {},
) => lineCutAt(project, { line, sshConfigFile }, when, fn, options)

const step = (title: RegExp) => (event: RunEvent) => event.type === 'step.started' && title.test(event.title)
const sql = (text: string) =>
  execFileSync('/usr/bin/sqlite3', [join(project.release, 'shared/db/pony.sqlite'), text])
    .toString()
    .trim()
const up = () => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')

test('of a backup: it is not known, the app goes on, and no half of it counts as a backup', async () => {
  const { value: before } = await project.run((staging) => staging.database.backups())
  const { error, cut } = await cutAt(step(/^copy main$/), (staging) => staging.database.backup())
  expect(cut).toBe(true)
  expect(error.code).toBe('connection-lost')
  expect(error.state).toMatch(/no part of it counts as a backup/)
  expect((await up()).status).toBe(200)
  await unlock(project)
  const { value: after } = await project.run((staging) => staging.database.backups())
  expect(after).toEqual(before)
  const { value: again } = await project.run((staging) => staging.database.backup())
  await project.run((staging) => staging.database.verify(again.id))
}, 60_000)

test('of a restore: the database is whole, and it is said that the app stands still and how to start it', async () => {
  sql("INSERT INTO settings VALUES ('colour', 'before')")
  const { value: backup } = await project.run((staging) => staging.database.backup())
  sql("UPDATE settings SET value = 'after' WHERE name = 'colour'")
  const { error, cut } = await cutAt(step(/^put main in place$/), (staging) => staging.database.restore(backup.id))
  expect(cut).toBe(true)
  expect(error.code).toBe('connection-lost')
  expect(error.state).toMatch(/main.*as before, or replaced as a whole.*stopped for this could not be started again/)
  expect(error.next).toContain('start_app:release=staging')
  await unlock(project)
  // Whole or not at all, whichever it was.
  await expect.poll(() => sql('PRAGMA integrity_check')).toBe('ok')
  expect(['before', 'after']).toContain(sql("SELECT value FROM settings WHERE name = 'colour'"))
  await project.run((staging) => staging.server.start())
  expect((await up()).status).toBe(200)
  await project.run((staging) => staging.database.restore(backup.id))
  expect(sql("SELECT value FROM settings WHERE name = 'colour'")).toBe('before')
}, 90_000)

test('of a migration: it is not known, the app goes on, and migrating again is right', async () => {
  const wait = join(project.release, 'shared/wait')
  writeFileSync(wait, '')
  const { error, cut } = await cutAt(step(/^migrate: /), (staging) => staging.database.migrate())
  expect(cut).toBe(true)
  expect(error.code).toBe('connection-lost')
  expect(error.state).toMatch(/may be done, under way or not begun/)
  execFileSync('rm', [wait])
  expect((await up()).status).toBe(200)
  await unlock(project)
  await project.run((staging) => staging.database.migrate())
}, 60_000)

test('of a rollback: the app goes on, and going back again, or a restart, is right', async () => {
  const { value: first } = await project.run((staging) => staging.versions())
  await project.run((staging) => staging.deploy())
  const target = first[0]?.id as string
  const { error, cut } = await cutAt(step(/^current → /), (staging) => staging.rollback())
  expect(cut).toBe(true)
  expect(error.code).toBe('connection-lost')
  expect(error.state).toContain(`${target}, or as it was; the app goes on`)
  expect((await up()).status).toBe(200)
  await unlock(project)
  await project.run(async (staging) => {
    const done = (await staging.versions()).some((each) => each.id === target && each.current)
    await (done ? staging.server.restart() : staging.rollback({ to: target }))
  })
  expect((await up()).release).toContain(target)
  expect(readdirSync(join(project.release, 'versions'))).toContain(target)
  expect((await up()).status).toBe(200)
}, 90_000)

test('of a fetch: the backup is whole on the host, nothing half is here, and fetching again is right', async () => {
  const { error, cut } = await cutAt(step(/^fetch main$/), (staging) => staging.database.fetch('fetched'))
  expect(cut).toBe(true)
  // Whether the command had begun is a matter of luck.
  expect(['connection-lost', 'fetch-failed']).toContain(error.code)
  expect(error.state).toMatch(/^The backup staging-\S+ is on pony-host, and whole; main of it is not here\.$/)
  expect(error.next).toContain('tasks fetch_db:release=staging')
  expect((await up()).status).toBe(200)
  expect(readdirSync(join(project.dir, 'fetched'))).toEqual([])
  await unlock(project)
  const { value: paths } = await project.run((staging) => staging.database.fetch('fetched'))
  expect(paths).toHaveLength(2)
}, 60_000)

test('of a test restore: nothing was changed, and it can be done again', async () => {
  const { error, cut } = await cutAt(step(/^verify main of/), (staging) => staging.database.verify())
  expect(cut).toBe(true)
  expect(error.code).toBe('connection-lost')
  expect(error.state).toMatch(/^Nothing of the app or of the backup was changed/)
  expect((await up()).status).toBe(200)
  await project.run((staging) => staging.database.verify())
}, 60_000)

test('of a clone: staging has its data or the other, whole, and what to type starts it', async () => {
  project.configure((text) =>
    text.replace(/\[production\]\ntarget = vps\n(?!release)/, '[production]\ntarget = vps\nrelease = r1\n'),
  )
  await project.run(
    async (production) => {
      await production.upload()
      await production.install()
      await production.database.init({ force: true })
    },
    { deployment: 'production' },
  )
  sql("UPDATE settings SET value = 'of staging' WHERE name = 'colour'")
  const clone = async (staging: VpsDeployment) => {
    const config = loadConfig(project.dir)
    await createVpsDeployment(config, config.deployments['production'] as VpsConfig).database.copyTo(staging)
  }
  const { error, cut } = await cutAt(step(/^put main in place$/), clone)
  expect(cut).toBe(true)
  expect(error.code).toBe('connection-lost')
  // Where the line was fast, it was migrating already.
  expect(error.state).toMatch(/main.*: (as before, or )?replaced as a whole/)
  expect(error.next).toContain('start_app:release=staging')
  await unlock(project)
  await unlock(project, 'production')
  await expect.poll(() => sql('PRAGMA integrity_check')).toBe('ok')
  await project.run(async (staging) => {
    await staging.server.start()
    await clone(staging)
  })
  expect(sql("SELECT count(*) FROM settings WHERE name = 'colour'")).toBe('0')
  expect((await up()).status).toBe(200)
}, 120_000)

let changes = 0

test.each<[string, RegExp, (staging: VpsDeployment) => Promise<unknown>, RegExp?]>([
  ['a change of settings', /keep what is replaced/, (staging) => staging.settings.set({ 'pony.cut': `${changes++}` })],
  [
    'a push of settings',
    /keep what is replaced/,
    (staging) => {
      project.edit('config/staging.ini', (text) => `${text.replace(/^late.*\n/m, '')}late = ${changes++}\n`)
      return staging.settings.push()
    },
  ],
  ['maintenance', /maintenance on/, (staging) => staging.maintenance.on()],
  ['the end of maintenance', /maintenance off/, (staging) => staging.maintenance.off()],
  ['an init of the app', /make the folders/, (staging) => staging.initApp(), /what runs was not touched\.$/],
  [
    'a push of the schedule',
    /write the crontab/,
    (staging) => {
      rmSync(join(project.home, '../crontab'), { force: true })
      return staging.schedule.push()
    },
  ],
  ['a one-off command', /sleep/, (staging) => staging.run(['sleep', '1']), /It was not sent again/],
])(
  'of %s: its outcome is not known and nothing is sent twice, the app goes on, and doing it again is right',
  async (_, display, operation, says = /The app runs on\.$/) => {
    const { error, cut } = await cutAt(
      (event) => event.type === 'command.started' && display.test(event.display),
      operation,
      { back: true },
    )
    expect({ cut, error }).toMatchObject({
      cut: true,
      error: { code: 'connection-lost', state: expect.stringMatching(says), next: expect.any(String) },
    })
    expect((await up()).status).toBe(200)
    await unlock(project)
    await project.run(operation)
    expect((await up()).status).toBe(200)
    await project.run((staging) => staging.maintenance.off())
  },
  60_000,
)

test('of an init: it is not known how far it came, and what was there is in the backups', async () => {
  const { error, cut } = await cutAt(step(/^init the database of/), (staging) => staging.database.init({ force: true }))
  expect(cut).toBe(true)
  expect(error.code).toBe('connection-lost')
  expect(error.state).toMatch(/all of it, a part, or nothing; what was there before, if anything, is in the backups/)
  await unlock(project)
  await project.run((staging) => staging.database.init({ force: true }))
  expect((await up()).status).toBe(200)
}, 60_000)
