/** What is asked of a deployment that it can't give is refused with its own code, and before anything connects. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { application, onHeroku, onHosts } from 'slipway'
import { fakeHosts, recordRun } from 'slipway/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SlipwayError } from '../../../src/events/index.ts'

const ini = `[app]
name = pony
server = exec server
[app.workers]
mailer = exec mailer
[staging]
target = vps
hosts = web1
release = r2
[production]
target = vps
hosts = web1
[cloud]
target = heroku
app = pony-cloud
[sky]
target = heroku
app = pony-cloud
`
let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-failures-'))
  mkdirSync(join(dir, 'config'))
  writeFileSync(join(dir, 'config/deploy.ini'), ini)
})
afterAll(() => rmSync(dir, { recursive: true }))

const app = application({ deployments: ['staging', 'production', 'cloud', 'sky'] })
const other = application({ deployments: ['stagin'] })

const all = async (lines: AsyncIterable<unknown>) => {
  for await (const _ of lines) return
}

describe('refused before anything connects', () => {
  test.each<[string, string, () => unknown]>([
    ['no-deployment', 'has no section [stagin] (did you mean staging?)', () => other['stagin'].status()],
    ['no-log', 'there is no log apps; there are', () => all(app.staging.logs({ source: 'apps' }))],
    ['no-worker', 'there is no worker mailr; there is mailer', () => app.staging.workers.scale({ mailr: 2 })],
    ['bad-value', "mailer can't have -1 processes", () => app.staging.workers.scale({ mailer: -1 })],
    [
      'no-role',
      'staging has no role cache; there are',
      () =>
        onHosts(app.staging)
          .role('cache')
          .each(() => {}),
    ],
    ['no-settings', '[staging] has no settings file', () => app.staging.settings.get()],
    ['no-init-db', 'has no init_db command', () => app.staging.database.init()],
    ['no-init-db', 'there is no `init_db =`', () => app.cloud.database.init()],
    ['no-migrate', 'has no migrate command', () => app.staging.database.migrate()],
    ['no-migrate', 'there is no `migrate =`', () => app.cloud.database.migrate()],
    ['no-command', 'there is no command to run', () => app.staging.run([])],
    ['no-command', 'there is no command to run', () => app.cloud.run([])],
    ['same-deployment', "staging can't be copied onto itself", () => app.staging.database.copyTo(app.staging)],
    ['other-target', 'cloud runs on Heroku, and staging on hosts', () => app.staging.database.copyTo(app.cloud)],
    ['other-target', 'staging is on a VPS', () => app.cloud.database.copyTo(app.staging)],
    ['other-target', 'run on different targets', () => app.promote(app.staging, app.cloud)],
    ['same-app', "pony-cloud can't be copied over itself", () => app.cloud.database.copyTo(app.sky)],
    ['not-on-heroku', 'cloud runs on Heroku', () => onHosts(app.cloud)],
    ['not-on-hosts', "staging runs on hosts of one's own", () => onHeroku(app.staging)],
    ['data-stays', 'stays in its own database', () => app.promote(app.cloud, app.sky, { data: 'fresh' })],
  ])('%s: %s', async (code, message, body) => {
    const hosts = fakeHosts()
    const { error } = await recordRun(async () => await body(), { hosts, projectDir: dir })
    if (!(error instanceof SlipwayError)) throw error
    expect(error).toMatchObject({ code })
    expect(error.message).toContain(message)
    expect(`${error.message} ${error.state ?? ''} ${error.next ?? ''}`).not.toMatch(/\bundefined\b|\[object/)
    expect(hosts.commands()).toEqual([])
  })
})
