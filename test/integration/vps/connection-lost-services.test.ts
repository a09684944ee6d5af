/** The line to the host is cut in what starts, stops, counts and clears away, and in every hook. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import type { HookName, VpsConfig } from '../../../src/config/types.ts'
import { createVpsDeployment } from '../../../src/targets/vps/create.ts'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
import { type Cut, cutAway } from '../../servers/cut.ts'
import { cutAt, unlock } from './cut-at.ts'
import { ask, createProject, type Project } from './host.ts'
import { processesOf } from './life.ts'

let project: Project
let line: Cut
let sshConfigFile: string

beforeAll(async () => {
  project = await createProject()
  project.configure((text) =>
    text.replace('[production]\ntarget = vps\n', '[production]\ntarget = vps\nrelease = r1\n'),
  )
  const made = async (deployment: VpsDeployment) => {
    await deployment.upload()
    await deployment.install()
    await deployment.database.init()
  }
  await project.run(made, { deployment: 'production' })
  await project.run(async (staging) => {
    await made(staging)
    await staging.server.start()
    await staging.workers.start()
    await staging.database.backup()
  })
  ;({ line, sshConfigFile } = await cutAway(project.sshConfigFile, project.dir))
}, 90_000)
afterAll(async () => {
  line?.close()
  await project?.stop()
})
beforeEach(() => line.mend())

/** Cuts the line at the step that `title` fits, and gives back what could not be given back. */
async function lostIn(title: RegExp, operation: (staging: VpsDeployment) => Promise<unknown>) {
  const { error, cut } = await cutAt(
    project,
    { line, sshConfigFile },
    (event) => event.type === 'step.started' && title.test(event.title),
    operation,
    { back: true },
  )
  line.mend()
  expect(cut).toBe(true)
  await unlock(project)
  await unlock(project, 'production')
  // In the middle of something, or before the next thing.
  expect(error.code).toMatch(/^(connection-lost|connection-lost-before|handshake-failed)$/)
  return error
}

const up = () => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')
const programs = () => Object.keys(processesOf(project.release)).sort()
const deploy = (staging: VpsDeployment) => staging.deploy()
const shared = (name: string) => join(project.release, 'shared', name)

test('of a prune: the app serves on, a version is there whole or can not be gone back to, and pruning again is right', async () => {
  for (let count = 0; count < 3; count++) await project.run(deploy)
  const before = (await project.run((staging) => staging.versions())).value
  const error = await lostIn(/^remove /, (staging) => staging.prune({ keep: 1 }))
  expect(error.state).toMatch(/^The app runs on, and its version and the one before are there\./)
  expect(error.next).toContain('tasks prune:release=staging')
  expect((await up()).status).toBe(200)
  await project.run((staging) => staging.prune({ keep: 1 }))
  const left = (await project.run((staging) => staging.versions())).value.map((version) => version.id)
  expect(left).toEqual(before.slice(0, 2).map((version) => version.id))
  expect(readdirSync(join(project.release, 'versions')).sort()).toEqual([...left].sort())
}, 120_000)

test('of a change of numbers: the app serves on, and setting them again is right', async () => {
  for (const size of [2, 1]) {
    const scale = (staging: VpsDeployment) => staging.workers.scale({ mailer: size })
    const error = await lostIn(/^record the numbers/, scale)
    expect(error.state).toMatch(/^The app server is left as it is\./)
    expect(error.next).toContain('tasks ps:release=staging')
    expect((await up()).status).toBe(200)
    await project.run(scale)
    expect(programs().filter((name) => name.startsWith('mailer'))).toHaveLength(size)
  }
}, 120_000)

test('of a stop and a start: it is said that neither is known, and doing it again, or the other, is right', async () => {
  const said = /^What was to be started or stopped may run, be on its way, or have ended\.$/
  const stopped = await lostIn(/^stop the app server/, (staging) => staging.server.stop())
  expect(stopped.state).toMatch(said)
  expect(stopped.next).toContain('tasks ps:release=staging')
  await project.run((staging) => staging.server.stop())
  expect(programs()).toEqual(['mailer-1'])
  const started = await lostIn(/^start app-/, (staging) => staging.server.start())
  expect(started.state).toMatch(said)
  await project.run((staging) => staging.server.start())
  expect((await up()).status).toBe(200)
  const all = await lostIn(/^a reboot leaves them stopped|^end the daemon|^stop /, (staging) =>
    staging.supervisor.stop().then(() => staging.server.stop()),
  )
  expect(all.state).toMatch(said)
  await project.run((staging) => staging.supervisor.stop())
  expect(programs()).toEqual([])
  await project.run(async (staging) => {
    await staging.server.start()
    await staging.workers.start()
  })
  expect((await up()).status).toBe(200)
}, 120_000)

const clone = async (staging: VpsDeployment) => {
  const config = loadConfig(project.dir)
  await createVpsDeployment(config, config.deployments['production'] as VpsConfig).database.copyTo(staging)
}
const restore = async (staging: VpsDeployment) => {
  const [backup] = (await staging.database.backups()).filter(({ id }) => id.startsWith('staging-'))
  await staging.database.restore(backup?.id as string)
}
const onInstall = /The running app goes on with the version that it runs\..*under way or not begun/
const onRestart = /The app goes on, with the version before or the new one/
const dataIs = (where: string) =>
  new RegExp(`^The data is ${where}, and the app runs with it\\. The hook \\w+ may be done`)

test.each<[HookName, (staging: VpsDeployment) => Promise<unknown>, RegExp]>([
  ['before_install', deploy, onInstall],
  ['after_install', deploy, onInstall],
  ['before_migrate', deploy, onInstall],
  ['after_migrate', deploy, onInstall],
  ['before_switch', deploy, onInstall],
  ['after_switch', deploy, onInstall],
  ['before_restart', deploy, onRestart],
  ['after_restart', deploy, onRestart],
  ['after_backup', (staging) => staging.database.backup(), /^The backup \S+ is there, and whole\.$/],
  ['before_restore', restore, dataIs('as it was')],
  ['after_restore', restore, dataIs('in place')],
  ['before_clone', clone, dataIs('as it was')],
  ['after_clone', clone, dataIs('in place')],
])(
  'of the hook %s: the app serves all the while, it is said what is true, and doing it again is right',
  async (name, operation, said) => {
    const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
    // It lasts until it is let go: the cut comes in the middle of it.
    const hook = 'touch "$SLIPWAY_SHARED/begun"; while [ -e "$SLIPWAY_SHARED/wait" ]; do sleep 0.05; done'
    project.configure((text) => text.replace('[app.workers]\n', `[app.hooks]\n${name} = ${hook}\n\n[app.workers]\n`))
    writeFileSync(shared('wait'), '')
    try {
      const error = await lostIn(new RegExp(`^${name.replace('_', ' ')}: `), operation)
      expect(error.state).toMatch(said)
      expect(error.next).toEqual(expect.any(String))
      rmSync(shared('wait'))
      expect((await up()).status).toBe(200)
      rmSync(shared('begun'), { force: true })
      await project.run(operation)
      expect(existsSync(shared('begun'))).toBe(true)
      expect((await up()).status).toBe(200)
    } finally {
      project.configure(() => plain)
      rmSync(shared('wait'), { force: true })
    }
    // What was left before the switch, or before the restart, is made up for.
    await project.run(deploy)
  },
  120_000,
)
