/** Deployments whose programs run under a supervisord that is there already, beside other people's. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type SystemSupervisor, startSystemSupervisor } from '../../servers/supervisord.ts'
import { createProject, type Project } from './host.ts'
import { lifeOfARelease } from './life.ts'

let supervisor: SystemSupervisor
let project: Project
let neighbour: string

beforeAll(async () => {
  supervisor = await startSystemSupervisor()
  neighbour = supervisor.control('pid', 'neighbour')
  project = await createProject()
  project.configure((text) =>
    text.replace(
      '[staging]\n',
      `[staging]\nsupervisor_conf = ${supervisor.conf}\nsupervisor_socket = ${supervisor.socket}\n`,
    ),
  )
}, 60_000)
afterAll(async () => {
  await project?.stop()
  await supervisor?.stop()
})

describe("under a system's supervisord", () => {
  lifeOfARelease(() => project)

  test('other programs run on through all of it, and what others changed is left to them', async () => {
    expect(supervisor.control('pid', 'neighbour')).toBe(neighbour)
    writeFileSync(join(supervisor.conf, 'later.conf'), '[program:later]\ncommand=sleep 3600\n')
    await project.run((staging) => staging.server.start())
    expect(supervisor.control('status')).not.toContain('later')
    expect(supervisor.control('status')).toMatch(/^ponyr2-app-[ab] +RUNNING/m)
    expect(readdirSync(supervisor.conf).sort()).toEqual(['later.conf', 'neighbour.conf', 'slipway-ponyr2.conf'])
    await project.run((staging) => staging.supervisor.stop())
    expect(supervisor.control('status')).toMatch(/^neighbour +RUNNING/m)
    expect(existsSync(`/proc/${supervisor.pid}`)).toBe(true)
  }, 60_000)

  test('a promotion is refused with it, by name', async () => {
    const { promote } = await import('../../../src/targets/vps/promotion/index.ts')
    const { vpsContext } = await import('../../../src/targets/vps/create.ts')
    const { loadConfig } = await import('../../../src/config/load.ts')
    const config = loadConfig(project.dir)
    const context = (name: string) => vpsContext(config, config.deployments[name] as never)
    await expect(project.run(() => promote(context('staging'), context('production')))).rejects.toMatchObject({
      code: 'promotion-services',
      message: expect.stringContaining('[staging] supervisor_conf'),
      exitCode: 2,
    })
  })

  test('where it does not answer, that is said, and nothing is started', async () => {
    await supervisor.stop()
    await expect(project.run((staging) => staging.server.start())).rejects.toMatchObject({
      code: 'no-system-supervisor',
      state: 'Nothing was started.',
    })
  }, 30_000)
})
