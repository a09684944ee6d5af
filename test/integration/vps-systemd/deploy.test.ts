/** Deployments whose programs are units of the user's systemd: a real one. */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Systemd, startSystemd } from '../../servers/systemd.ts'
import { createProject, type Project } from '../vps/host.ts'
import { bootEnvironment, lifeOfARelease } from '../vps/life.ts'

const systemd = await startSystemd()
let project: Project

beforeAll(async () => {
  if (!systemd) return
  const { XDG_RUNTIME_DIR, XDG_CONFIG_HOME } = systemd.env
  Object.assign(bootEnvironment, { XDG_RUNTIME_DIR, XDG_CONFIG_HOME })
  project = await createProject({ sshd: { environment: { XDG_RUNTIME_DIR, XDG_CONFIG_HOME } } })
  // The stand-in of a host without systemd.
  rmSync(join(project.home, '../bin/systemctl'))
  project.configure((text) => text.replace('[staging]\n', '[staging]\nservices = systemd\n'))
}, 60_000)
afterAll(async () => {
  await project?.stop()
  await systemd?.stop()
})

describe.runIf(systemd)('under the user manager of systemd', () => {
  lifeOfARelease(() => project)

  test('a release has a unit a program, and no supervisord is asked for', () => {
    const units = readdirSync(`${(systemd as Systemd).env.XDG_CONFIG_HOME}/systemd/user`).filter((name) =>
      name.endsWith('.service'),
    )
    expect(units.sort()).toEqual([
      'slipway-ponyr2-app-a.service',
      'slipway-ponyr2-app-b.service',
      'slipway-ponyr2-mailer-1.service',
    ])
  })

  test('where somebody has taken the units away, a start says so', async () => {
    const folder = `${(systemd as Systemd).env.XDG_CONFIG_HOME}/systemd/user`
    for (const unit of readdirSync(folder)) if (unit.endsWith('.service')) rmSync(join(folder, unit))
    await expect(project.run((staging) => staging.server.start())).rejects.toMatchObject({
      code: 'no-units',
      state: 'Nothing was started.',
      next: expect.stringContaining('install_app'),
    })
  })
})
