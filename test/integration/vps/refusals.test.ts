/** What a host or its configuration can't give is refused with its own code, on a real host, and nothing is changed. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { application } from '../../../src/application.ts'
import { createRun, noPrompter, SlipwayError, withRun } from '../../../src/events/index.ts'
import { host } from '../../../src/hosts/index.ts'
import { vpsStore } from '../../../src/targets/vps/store/index.ts'
import { baseConfig, createProject, type Project } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
  })
}, 60_000)
afterAll(() => project.stop())

const app = application({ deployments: ['staging', 'production'] })

/** The failure of `body` with the configuration changed so. */
async function refused(body: () => unknown, change: (ini: string) => string = (ini) => ini): Promise<SlipwayError> {
  writeFileSync(join(project.dir, 'config/deploy.ini'), change(baseConfig))
  const run = createRun({
    options: { projectDir: project.dir, sshConfigFile: project.sshConfigFile },
    prompter: { ...noPrompter, interactive: true, confirm: async () => true, confirmTyped: async () => true },
  })
  try {
    await withRun(run, async () => await body())
  } catch (error) {
    if (error instanceof SlipwayError) return error
    throw error
  } finally {
    await withRun(run, () => run.finish())
  }
  throw new Error('it was not refused')
}

const all = async (lines: AsyncIterable<unknown>) => {
  for await (const _ of lines) return
}
const withDomains = (provider: string) => (ini: string) => `${ini}\n[domains]\nprovider = ${provider}\n`
const onPorts = (provider: string) => (ini: string) =>
  withDomains(provider)(ini.replace('drain = 10s', 'drain = 10s\nlisten = port 8123'))

describe('refused', () => {
  test.each<[string, string, () => unknown, ((ini: string) => string)?]>([
    ['no-former', 'there is no former production on pony-host', () => app.demote(app.staging, app.production)],
    [
      'nothing-unfinished',
      'there is no unfinished promotion',
      () => app.promote(app.staging, app.production, { resume: true }),
    ],
    [
      'several-hosts',
      'a promotion takes the same hosts for both: pony-host and other-host',
      () => app.promote(app.staging, app.production),
      (ini) => ini.replace(/(\[production\]\ntarget = vps\nhosts = )pony-host/, '$1other-host'),
    ],
    [
      'provider-listen',
      'uberspace leads a domain to a port, and pony listens on a socket',
      () => app.promote(app.staging, app.production),
      withDomains('uberspace'),
    ],
    [
      'provider-listen',
      'pony listens on ports, and with provider = none nobody is there who could lead the domain from the old one to the new one',
      () => app.promote(app.staging, app.production),
      onPorts('none'),
    ],
    [
      'provider',
      'uberspace leads domains to ports, and pony listens on a socket',
      () => app.staging.initApp(),
      withDomains('uberspace'),
    ],
    [
      'provider-missing',
      'there is no uberspace command on pony-host',
      () => app.staging.initApp(),
      onPorts('uberspace'),
    ],
    ['no-backup', 'there is no backup nope', () => app.staging.database.restore('nope')],
    ['no-backup', 'there is no backup of staging', () => app.staging.database.verify()],
    [
      'no-database',
      'no database is configured',
      () => app.staging.database.backup(),
      (ini) => ini.replace(/\[app\.databases\][^[]*/, ''),
    ],
    [
      'scrub',
      "[staging] scrub = nowhere.sql, and it can't be read",
      () => app.production.database.copyTo(app.staging),
      (ini) => ini.replace('[staging]\n', '[staging]\nscrub = nowhere.sql\n'),
    ],
    [
      'database-kind',
      'main is sqlite in one deployment, and postgres in the other',
      () => app.production.database.copyTo(app.staging),
      (ini) => `${ini}\n[staging.databases]\nmain = postgres postgres://u@127.0.0.1/pony\n`,
    ],
    [
      'database-shared',
      'staging and production use one database: pony',
      () => app.promote(app.staging, app.production),
      (ini) => ini.replace('main = sqlite db/pony.sqlite', 'main = postgres postgres://u@127.0.0.1/pony'),
    ],
    ['no-log', 'there is no log apps', () => all(app.staging.logs({ source: 'apps' }))],
  ])('%s: %s', async (code, message, body, change) => {
    const error = await refused(body, change)
    expect(error).toMatchObject({ code })
    expect(error.message).toContain(message)
    expect(`${error.message} ${error.state ?? ''} ${error.next ?? ''}`).not.toMatch(/\bundefined\b|\[object/)
  })

  test('names that no lock can have', async () => {
    expect(
      await refused(async () => (await vpsStore(host('pony-host'), 'pony').lock(['a b'], owner)).release()),
    ).toMatchObject({
      code: 'bad-name',
    })
  })
})

const owner = { run: 'r', user: 'ann', machine: 'laptop', command: 'tasks test', pid: process.pid }
