/** Maintenance on a host: whom the site lets in, and the app's own variable. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, createProject, type Project, told } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject({ nginx: true })
  await project.run(async (staging) => {
    await staging.initApp()
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
  })
}, 90_000)
afterAll(() => project.stop())

const status = async (path = '/') => (await ask(project.httpPort as number, path)).status
const setting = (line: string) =>
  project.configure((text) => text.replace(/\[staging\]\n(maintenance_\w+ = .*\n)*/, `[staging]\n${line}`))

test('the addresses that are configured get the app, everybody else the page; no request is needed to change that', async () => {
  expect(await status()).toBe(200)
  await project.run((staging) => staging.maintenance.on())
  expect(await status()).toBe(503)
  setting('maintenance_allow = 203.0.113.7, 2001:db8::/32, 127.0.0.0/8\n')
  await project.run((staging) => staging.maintenance.on())
  await expect.poll(() => status()).toBe(200)
  expect((await project.run((staging) => staging.maintenance.status())).value).toBe(true)
  setting('maintenance_allow = 203.0.113.7\n')
  await project.run((staging) => staging.maintenance.on())
  await expect.poll(() => status()).toBe(503)
  setting('')
  await project.run((staging) => staging.maintenance.on())
  expect(project.read('.slipway/pony/sites/staging/nginx.conf')).not.toContain('203.0.113.7')
  await project.run((staging) => staging.maintenance.off())
  await expect.poll(() => status()).toBe(200)
}, 60_000)

test("the app's own variable is there from maintenance on to off, over a deploy, and no request fails", async () => {
  setting('maintenance_variable = MAINTENANCE_MODE=back at noon\n')
  const environment = () =>
    project.run(async (staging) => {
      const [server] = await staging.server.status()
      return readFileSync(`/proc/${server?.pid}/environ`, 'utf8')
        .split('\0')
        .find((each) => each.startsWith('MAINTENANCE_MODE='))
    })
  // What is installed knows of the variable: bin/start reads it.
  await project.run((staging) => staging.deploy())
  expect((await environment()).value).toBeUndefined()
  const { events } = await project.run((staging) => staging.maintenance.on({ message: 'soon' }))
  expect(told(events).join('\n')).toContain('no message is shown')
  expect((await environment()).value).toBe('MAINTENANCE_MODE=back at noon')
  expect(await status('/up')).toBe(200)
  await project.run((staging) => staging.deploy())
  expect((await environment()).value).toBe('MAINTENANCE_MODE=back at noon')
  const { value } = await project.run((staging) => staging.status())
  expect(value.maintenance).toBe(true)
  await project.run((staging) => staging.maintenance.off())
  expect((await environment()).value).toBeUndefined()
  await project.run((staging) => staging.maintenance.during(async () => undefined))
  expect((await environment()).value).toBeUndefined()
  expect((await project.run((staging) => staging.maintenance.status())).value).toBe(false)
}, 120_000)

test('hooks run before and after a restore, and one before that fails leaves everything as it was', async () => {
  project.configure((text) =>
    text.replace(
      '[app.logs]',
      '[app.hooks]\nbefore_restore = echo before >>"$SLIPWAY_SHARED/hooks"\nafter_restore = echo after >>"$SLIPWAY_SHARED/hooks"\n\n[app.logs]',
    ),
  )
  const { value: backup } = await project.run((staging) => staging.database.backup())
  await project.run((staging) => staging.database.restore(backup.id))
  const hooks = () => readFileSync(join(project.release, 'shared/hooks'), 'utf8')
  expect(hooks()).toBe('before\nafter\n')
  const count = (await project.run((staging) => staging.database.backups())).value.length
  project.configure((text) => text.replace(/^before_restore = .*$/m, 'before_restore = echo no index >&2; exit 3'))
  await expect(project.run((staging) => staging.database.restore(backup.id))).rejects.toMatchObject({
    code: 'data-hook',
    state: 'Nothing was changed.',
    detail: expect.stringContaining('no index'),
  })
  expect((await project.run((staging) => staging.database.backups())).value).toHaveLength(count)
  project.configure((text) =>
    text.replace(/^before_restore = .*\n/m, '').replace(/^after_restore = .*$/m, 'after_restore = exit 4'),
  )
  await expect(project.run((staging) => staging.database.restore(backup.id))).rejects.toMatchObject({
    code: 'data-hook',
    state: 'The data is in place, and the app runs with it.',
  })
  expect(hooks()).toBe('before\nafter\n')
  expect(await status('/up')).toBe(200)
}, 90_000)
