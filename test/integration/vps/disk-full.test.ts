/** A disk that is full to its last byte, and then what is beside the app is changed: it runs on, and nothing is half. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
import { ask, createProject, type Project } from './host.ts'

let project: Project

const asRoot = process.getuid?.() === 0

beforeAll(async () => {
  if (!asRoot) return
  project = await createProject()
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', project.home])
  // The crontab of the stand-in lies on that disk, too.
  const crontab = join(project.home, '../bin/crontab')
  writeFileSync(
    crontab,
    readFileSync(crontab, 'utf8').replace(/^table=.*$/m, `table='${join(project.home, 'crontab')}'`),
  )
  project.configure((text) => text.replace('[staging]\n', '[staging]\nbackups = 30 2 * * *\n'))
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
    for (let count = 0; count < 3; count++) await staging.deploy()
    await staging.schedule.push()
  })
}, 90_000)
afterAll(async () => {
  if (!asRoot) return
  await project.run((staging) => staging.supervisor.stop()).catch(() => {})
  execFileSync('umount', ['-l', project.home])
  await project.stop()
})

const ballast = () => join(project.home, 'ballast')
const up = () => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')
const settings = () => project.read('webapps/ponyr2/settings/staging.ini')
const versions = async () => (await project.run((staging) => staging.versions())).value.map(({ id }) => id)

/** Runs `fn` while not a byte is free. */
async function full(fn: () => Promise<void>): Promise<void> {
  for (const block of ['64k', '1']) {
    execFileSync('/bin/sh', ['-c', `dd if=/dev/zero bs=${block} >>${ballast()} 2>/dev/null || :`])
  }
  try {
    await fn()
  } finally {
    rmSync(ballast())
  }
}

describe.runIf(asRoot)('on a full disk', () => {
  /** More than the space that is kept for a lock leaves over. */
  const long = 'x'.repeat(60_000)

  test.each<[string, (staging: VpsDeployment) => Promise<unknown>, RegExp, () => string]>([
    [
      'settings',
      (staging) => staging.settings.set({ 'pony.title': long }),
      /^No file of the settings is half/,
      settings,
    ],
    ['a push of settings', (staging) => staging.settings.push(), /^No file of the settings is half/, settings],
    [
      'maintenance',
      (staging) => staging.maintenance.on({ message: long }),
      /^Maintenance is as it was\./,
      () => String(existsSync(join(project.home, '.slipway/pony/sites/staging/maintenance.on'))),
    ],
    [
      'the schedule',
      (staging) => staging.schedule.push(),
      /^The crontab is as it was\./,
      () => project.read('crontab'),
    ],
  ])(
    '%s: is as it was, the app serves on, and with room it can be done',
    async (_, operation, state, read) => {
      const before = read()
      project.edit('config/staging.ini', (text) => `${text.replace(/^late.*\n/m, '')}late = ${before.length}${long}\n`)
      const section = `[app.schedule]\nlate = 15 3 * * * echo ${before.length}${long}\n`
      project.configure((text) => `${text.replace(/\[app.schedule\]\n.*\n/, '')}${section}`)
      await full(async () => {
        await expect(project.run(operation)).rejects.toMatchObject({
          code: 'disk-full',
          message: expect.stringMatching(/\((the disk is full|is the disk full\?)\)$/),
          state: expect.stringMatching(new RegExp(`${state.source}.*The app runs on\\.$`)),
          next: expect.stringContaining('tasks prune:release=staging'),
        })
        expect(read()).toBe(before)
        expect((await up()).status).toBe(200)
      })
      await project.run(operation)
      expect(read()).not.toBe(before)
      expect((await up()).status).toBe(200)
    },
    60_000,
  )

  test('maintenance goes, and versions go, which makes room: the lock that they need has space of its own', async () => {
    const ids = await versions()
    await project.run((staging) => staging.maintenance.on())
    await full(async () => {
      await project.run((staging) => staging.maintenance.off())
      expect((await project.run((staging) => staging.maintenance.status())).value).toBe(false)
      // However often it was tried before.
      for (let count = 0; count < 3; count++) {
        await expect(
          project.run((staging) => staging.settings.set({ 'pony.note': `${count}${long}` })),
        ).rejects.toMatchObject({ code: 'disk-full' })
      }
      const { value: removed } = await project.run((staging) => staging.prune({ keep: 1 }))
      expect(removed.length).toBeGreaterThan(0)
      expect(await versions()).toEqual(ids.slice(0, 2))
      expect((await up()).status).toBe(200)
    })
    expect(readdirSync(join(project.release, 'versions')).sort()).toEqual(ids.slice(0, 2).sort())
    // The space is there again once there is room.
    await project.run((staging) => staging.maintenance.off())
    expect(statSync(join(project.home, '.slipway/pony/locks/.reserve')).size).toBe(64 * 1024)
  }, 60_000)

  test('a version that can not be removed is not gone back to either, and goes the next time', async () => {
    await project.run(async (staging) => {
      for (let count = 0; count < 2; count++) await staging.deploy()
    })
    const before = await up()
    const old = (await versions()).at(-1) as string
    const held = (folder: string) => join(project.release, 'versions', folder, 'pony')
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', held(old)])
    try {
      await expect(project.run((staging) => staging.prune({ keep: 1 }))).rejects.toMatchObject({
        code: 'prune-failed',
        message: expect.stringContaining(`remove ${old}`),
        detail: expect.stringContaining('busy'),
        state: expect.stringMatching(/^The app runs on, and its version and the one before are there\./),
        next: expect.stringContaining('tasks prune:release=staging'),
      })
    } finally {
      execFileSync('umount', [held(existsSync(held(old)) ? old : `.going-${old}`)])
    }
    await expect(project.run((staging) => staging.rollback({ to: old }))).rejects.toMatchObject({
      code: 'version-gone',
      message: expect.stringContaining(old),
      state: 'Nothing was changed; the app runs on.',
      next: expect.stringContaining('tasks versions:release=staging'),
    })
    expect(await up()).toMatchObject({ status: 200, release: before.release })
    await project.run((staging) => staging.prune({ keep: 1 }))
    expect(await versions()).not.toContain(old)
    expect(readdirSync(join(project.release, 'versions')).sort()).toEqual((await versions()).sort())
  }, 60_000)
})
