/** A deployment on two machines: code on both, one after the other restarted, workers only where they belong. */
import { cpSync, existsSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Sshd, startSshd } from '../../servers/sshd.ts'
import { ask, createProject, type Project } from './host.ts'
import { processesOf } from './life.ts'

let project: Project
let second: Sshd
let sshConfigFile: string

beforeAll(async () => {
  project = await createProject()
  second = await startSshd()
  const own = (file: string, alias: string) => readFileSync(file, 'utf8').replace(/^Host .*$/m, `Host ${alias}`)
  sshConfigFile = join(project.dir, 'ssh_config')
  writeFileSync(sshConfigFile, `${own(project.sshConfigFile, 'web-1')}\n${own(second.sshConfigFile, 'web-2')}`)
  project.configure((text) =>
    text
      .replace('hosts = pony-host\nrelease', 'hosts = web-1, web-2\nrelease')
      .concat('\n[staging.roles]\nweb = web-1, web-2\nworker = web-2\n'),
  )
  await project.run(
    async (staging) => {
      await staging.upload()
      await staging.install()
      await staging.database.init()
      // Each machine has a file of its own here; what is tested is not the database.
      cpSync(join(project.release, 'shared/db'), join(second.home, 'webapps/ponyr2/shared/db'), { recursive: true })
      await staging.server.start()
      await staging.workers.start()
    },
    { sshConfigFile },
  )
}, 120_000)
afterAll(async () => {
  await project.stop()
  await second.stop()
})

const release = (index: number) => (index === 0 ? project.release : join(second.home, 'webapps/ponyr2'))
const currents = () => [0, 1].map((index) => readlinkSync(join(release(index), 'current')))
const up = (index: number) =>
  ask(join(index === 0 ? project.home : second.home, '.slipway/pony/sites/staging/current.sock'), '/up')

test('a version has the same id on each; workers run only on their host; the lock is the first one’s', async () => {
  expect(readlinkSync(join(release(0), 'current'))).toBe(readlinkSync(join(release(1), 'current')))
  expect((await up(0)).release).toBe((await up(1)).release)
  const { value } = await project.run((staging) => staging.workers.status(), { sshConfigFile })
  expect(value).toMatchObject([{ name: 'mailer-1', state: 'running', host: 'web-2' }])
  expect(readdirSync(join(second.home, '.slipway/pony'))).not.toContain('locks')
})

test('a restart rolls: the second machine begins when the first one is well', async () => {
  const { events } = await project.run((staging) => staging.server.restart(), { sshConfigFile })
  const steps = events.flatMap((event) =>
    event.type === 'step.started' && event.host && /^(start|drain) app-[ab]$/.test(event.title)
      ? [`${event.host} ${event.title.split(' ')[0]}`]
      : [],
  )
  expect(steps).toEqual(['web-1 start', 'web-1 drain', 'web-2 start', 'web-2 drain'])
}, 60_000)

test('a version that is not well on the first machine never reaches visitors of the second', async () => {
  const before = await up(1)
  project.edit('app/pony/web.py', (text) => `raise SystemExit('broken')\n${text}`)
  await expect(project.run((staging) => staging.deploy(), { sshConfigFile })).rejects.toMatchObject({
    code: 'unhealthy',
    host: 'web-1',
  })
  expect(await up(0)).toMatchObject({ status: 200, release: before.release })
  expect(await up(1)).toMatchObject({ status: 200, release: before.release })
  const served = `versions/${before.release.split('/')[1]}`
  expect([0, 1].map((index) => readlinkSync(join(release(index), 'current')))).toEqual([served, served])
  expect(existsSync(join(project.home, '.slipway/pony/locks/staging.lock'))).toBe(false)
}, 90_000)

test('an install is made ready everywhere, migrated once, and current on all or none', async () => {
  const before = currents()
  project.edit('app/pony/web.py', (text) => text.replace(`raise SystemExit('broken')\n`, ''))
  project.configure((text) =>
    text.concat(
      '\n[app.hooks]\nafter_install = [ ! -e "$HOME/refuse" ]\nbefore_migrate = echo once >> "$HOME/migrations"\n',
    ),
  )
  writeFileSync(join(second.home, 'refuse'), '')
  await expect(project.run((staging) => staging.deploy(), { sshConfigFile })).rejects.toMatchObject({
    code: 'install-failed',
    host: 'web-2',
    state: expect.stringContaining('The running app is untouched'),
  })
  expect(currents()).toEqual(before)
  for (const folder of [release(0), release(1)]) {
    const { versions, failed } = versionsIn(folder)
    expect(failed.length).toBeGreaterThan(0)
    expect(versions).not.toContain(failed.at(-1))
  }
  expect(existsSync(join(project.home, 'migrations'))).toBe(false)

  rmSync(join(second.home, 'refuse'))
  await project.run((staging) => staging.deploy(), { sshConfigFile })
  const [first, other] = currents()
  expect(first).toBe(other)
  expect(first).not.toBe(before[0])
  expect(readFileSync(join(project.home, 'migrations'), 'utf8')).toBe('once\n')
  expect(existsSync(join(second.home, 'migrations'))).toBe(false)
}, 90_000)

test('one that is well on the first machine and not on the second is taken back from the first', async () => {
  const before = await up(0)
  const current = currents()
  project.edit('app/pony/web.py', (text) =>
    text.replace(
      /^from __future__.*\n/m,
      `$&import os\nif os.path.exists(os.path.expanduser('~/unwell')): raise SystemExit('no')\n`,
    ),
  )
  writeFileSync(join(second.home, 'unwell'), '')
  const failure = await project.run((staging) => staging.deploy(), { sshConfigFile }).catch((error: unknown) => error)
  expect(failure).toMatchObject({ code: 'unhealthy', host: 'web-2', state: expect.stringContaining('still serves') })
  expect((await up(0)).release).toBe(before.release)
  expect((await up(1)).release).toBe(before.release)
  expect(currents()).toEqual(current)
  const failed = [0, 1].map((index) => versionsIn(release(index)).failed.at(-1))
  expect(failed[0]).toBe(failed[1])
  expect(failed[0]).not.toBe(current[0]?.split('/')[1])
  await expect(project.run((staging) => staging.rollback({ to: failed[0] }), { sshConfigFile })).rejects.toMatchObject({
    code: 'never-live',
  })
}, 90_000)

test('a machine that has workers alone goes back too, and its workers never take up what failed', async () => {
  rmSync(join(second.home, 'unwell'))
  project.configure((text) => text.replace('web = web-1, web-2', 'web = web-1'))
  // From now on the second one serves nobody.
  rmSync(join(second.home, '.slipway/pony/sites/staging/current.sock'))
  await project.run((staging) => staging.deploy(), { sshConfigFile })
  const current = currents()
  expect(current[0]).toBe(current[1])
  const record = () =>
    JSON.parse(readFileSync(join(release(1), '.slipway/versions', `${current[1]?.split('/')[1]}.json`), 'utf8'))
  expect(record()).toMatchObject({ state: 'live', wasLive: true })

  writeFileSync(join(project.home, 'unwell'), '')
  project.edit('app/pony/pages.py', (text) => `${text}# changed\n`)
  await expect(project.run((staging) => staging.deploy(), { sshConfigFile })).rejects.toMatchObject({
    code: 'unhealthy',
    host: 'web-1',
  })
  expect(currents()).toEqual(current)
  await project.run((staging) => staging.workers.restart(), { sshConfigFile })
  const worker = processesOf(release(1))['mailer-1']
  expect(readlinkSync(`/proc/${worker}/cwd`)).toBe(join(release(1), current[1] as string))
  expect(record()).toMatchObject({ state: 'live' })
}, 90_000)

/** The folders of versions, and the ids of those that failed. */
function versionsIn(folder: string): { versions: string[]; failed: string[] } {
  const records = readdirSync(join(folder, '.slipway/versions')).filter((name) => name.endsWith('.json'))
  const failed = records.filter((name) =>
    readFileSync(join(folder, '.slipway/versions', name), 'utf8').includes('"failed"'),
  )
  return {
    versions: readdirSync(join(folder, 'versions')),
    failed: failed.map((name) => name.replace('.json', '')).sort(),
  }
}
