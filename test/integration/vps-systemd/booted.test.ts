/** A release under systemd on a machine that systemd itself booted: linger, logins that end, and a reboot. */
import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bootMachine, type Machine } from '../../servers/machine.ts'
import { ask, bringUp, createProject, type Project } from '../vps/host.ts'
import { processesOf } from '../vps/life.ts'

const machine = (await bootMachine()) as Machine
let project: Project

beforeAll(async () => {
  if (!machine) return
  const { root, user, sshConfigFile } = machine
  project = await createProject({
    server: { home: join(root, 'home', user), sshConfigFile, stop: () => machine.stop() },
  })
  project.configure((text) => text.replace('[staging]\n', '[staging]\nservices = systemd\n'))
}, 120_000)
afterAll(() => project?.stop())

/** Links there lead where they lead there. */
const up = () =>
  ask(join(machine.root, readlinkSync(join(project.home, '.slipway/pony/sites/staging/current.sock'))), '/up')
const programs = (release = 'ponyr2') => processesOf(`/home/${machine.user}/webapps/${release}`)

describe.runIf(machine)('on a machine that systemd has booted', () => {
  test('without linger a deploy is refused, and what it says to type makes it right', async () => {
    expect(machine.run('cat', '/proc/1/comm')).toBe('systemd')
    expect(machine.run('stat', '-f', '-c', '%T', '/sys/fs/cgroup')).toBe('cgroup2fs')
    const install = () =>
      project.run(async (staging) => {
        await staging.upload()
        await staging.install()
      })
    await expect(install()).rejects.toMatchObject({
      code: 'no-linger',
      state: 'Nothing was changed.',
      next: 'As root there: `loginctl enable-linger USER`.',
    })
    machine.run('loginctl', 'enable-linger', machine.user)
    await install()
  }, 120_000)

  test('the app and its workers outlive the login that started them, and a deploy takes over by the other slot', async () => {
    const before = await project.run(async (staging) => {
      await staging.database.init()
      await staging.server.start()
      await staging.workers.start()
      return staging.deploy()
    })
    // No login is left: what runs belongs to the user's manager.
    await expect.poll(() => machine.run('loginctl', 'list-sessions', '--no-legend'), { timeout: 20_000 }).toBe('')
    expect(await up()).toMatchObject({ status: 200, release: `ponyr2/${before.value.id}` })
    const [app] = Object.keys(programs()).filter((name) => name.startsWith('app'))
    expect(Object.keys(programs()).sort()).toEqual([app, 'mailer-1'])
    const uid = machine.run('id', '-u', machine.user)
    const group = machine.run(
      'systemctl',
      '--user',
      '-M',
      `${machine.user}@`,
      'show',
      '-P',
      'ControlGroup',
      `slipway-ponyr2-${app}`,
    )
    expect(group).toMatch(
      new RegExp(`/user.slice/user-${uid}.slice/user@${uid}.service/.*slipway-ponyr2-${app}.service$`),
    )
  }, 120_000)

  test('after a reboot cron brings all of it back, by the line in the crontab', async () => {
    await project.run((staging) => staging.schedule.push())
    expect(machine.run('crontab', '-u', machine.user, '-l')).toMatch(/^@reboot \/bin\/sh \S+\/bin\/boot /m)
    const [before, ran] = [await up(), programs()]
    await machine.reboot()
    await expect.poll(() => Object.keys(programs()).sort(), { timeout: 60_000 }).toEqual(Object.keys(ran).sort())
    await expect.poll(() => up().then(({ status }) => status, String), { timeout: 60_000 }).toBe(200)
    expect(await up()).toMatchObject({ release: before.release })
    for (const [name, pid] of Object.entries(programs())) expect(pid).not.toBe(ran[name])
    const { value: status } = await project.run((staging) => staging.status())
    expect(status).toMatchObject({ healthy: true, workers: [{ name: 'mailer-1', state: 'running' }] })
    await project.run(async (staging) => {
      await staging.workers.stop()
      await staging.server.stop()
    })
    expect(programs()).toEqual({})
    const since = `@${Math.floor(Date.now() / 1000)}`
    await machine.reboot()
    // What was stopped stays so, when cron has been through with its line.
    const said = () => machine.run('journalctl', '-q', '--no-pager', '-t', 'CRON', '--since', since)
    await expect.poll(said, { timeout: 60_000 }).toMatch(/bin\/boot [\s\S]*session closed for user pony/)
    expect(programs()).toEqual({})
  }, 240_000)

  test('so it does a release with a supervisord of its own', async () => {
    project.configure((text) => text.replace('name = pony\n', 'name = apart\n').replace('services = systemd\n', ''))
    await project.run(async (staging) => {
      await bringUp(staging)
      await staging.schedule.push()
    })
    expect(machine.run('crontab', '-u', machine.user, '-l').match(/^@reboot /gm)).toHaveLength(2)
    const ran = programs('apartr2')
    expect(Object.keys(ran).sort()).toEqual(['app-a', 'mailer-1'])
    await machine.reboot()
    await expect.poll(() => Object.keys(programs('apartr2')).sort(), { timeout: 60_000 }).toEqual(['app-a', 'mailer-1'])
    for (const [name, pid] of Object.entries(programs('apartr2'))) expect(pid).not.toBe(ran[name])
    const healthy = async () => (await project.run((staging) => staging.status())).value.healthy
    await expect.poll(healthy, { timeout: 60_000 }).toBe(true)
    await project.run((staging) => staging.supervisor.stop())
  }, 240_000)
})
