/** What goes wrong in a deploy: the app that ran still runs, and the message says so. */
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { RunEvent, SlipwayError } from '../../../src/events/index.ts'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
import { type Cut, cutAway } from '../../servers/cut.ts'
import { freePort } from '../../servers/ports.ts'
import { cutAt as lineCutAt, unlock } from './cut-at.ts'
import { ask, bringUp, createProject, type Project } from './host.ts'
import { processesOf } from './life.ts'

let project: Project
let line: Cut
let sshConfigFile: string

beforeAll(async () => {
  project = await createProject()
  await project.run(bringUp)
  ;({ line, sshConfigFile } = await cutAway(project.sshConfigFile, project.dir))
}, 60_000)
afterAll(async () => {
  line?.close()
  await project?.stop()
})
beforeEach(() => line.mend())

const up = (of = project) => ask(join(of.home, '.slipway/pony/sites/staging/current.sock'), '/up')
const current = (of = project) => readlinkSync(join(of.release, 'current')).split('/')[1] as string
const settingsFile = () => join(project.release, 'settings/staging.ini')
const files = (folder: string) =>
  (readdirSync(folder, { recursive: true }) as string[])
    .filter((name) => !/__pycache__|\.log$|\.out$/.test(name))
    .sort()

/** Restarts under way on the host. */
const restarting = () =>
  readdirSync('/proc').filter((pid) => {
    try {
      const [program, flag, ...rest] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      return program?.endsWith('python3') && flag === '-c' && rest.join().includes(project.release)
    } catch {
      return false
    }
  }).length

/** What four tasks do: `deploy_staging`. */
const whole = async (staging: VpsDeployment) => {
  await staging.upload()
  await staging.install()
  await staging.server.restart()
  await staging.workers.restart()
}

test('a dry run of a deploy tells each change, and makes none', async () => {
  const [before, programs, tree] = [await up(), processesOf(project.release), files(project.home)]
  project.edit('app/pony/pages.py', (text) => `${text}# changed\n`)
  const { events } = await project.run((staging) => staging.deploy(), { dryRun: true })
  const held = events.flatMap((event) => (event.type === 'held-back' ? [event.display] : [])).join('\n')
  expect(held).toMatch(/rsync/)
  expect(held).toMatch(/migrate: /)
  expect(held).toMatch(/current → /)
  expect(held).toMatch(/start app-[ab], check it, point the site at it/)
  expect(files(project.home)).toEqual(tree)
  expect(processesOf(project.release)).toEqual(programs)
  expect((await up()).release).toBe(before.release)
}, 60_000)

/** Deploys over the line, which is cut as soon as `when` is true of what is told, and back when that is noticed. */
async function cutAt(when: (event: RunEvent) => boolean): Promise<SlipwayError> {
  const { error, cut } = await lineCutAt(project, { line, sshConfigFile }, when, whole, { back: true })
  expect(cut).toBe(true)
  line.mend()
  await unlock(project)
  return error
}

test.each([
  ['the upload', /^rsync /, /running app is untouched/],
  ['the install', /^migrate: /, /running app goes on with the version that it runs/],
  ['the switch', /^current → /, /running app goes on with the version that it runs/],
  ['the restart', /^start app-/, /The app goes on, with the version before or the new one/],
  ['the restart of the workers', /^stop the workers/, /The app server is left as it is/],
])(
  'the line is lost in %s: the app answers all the while, it is said, and the next deploy is right',
  async (_, title, said) => {
    project.edit('app/pony/pages.py', (text) => `${text}# changed\n`)
    const error = await cutAt((event) => event.type === 'step.started' && title.test(event.title))
    // In the middle of something, or before the next thing.
    expect(error.code).toMatch(/^(connection-lost|handshake-failed|rsync-failed)$/)
    expect(error.state).toMatch(said)
    expect(error.next).toMatch(/When the host can be reached|when the host can be reached/)
    expect((await up()).status).toBe(200)
    // A restart goes on to its end on the host, where nobody listens any more.
    await expect.poll(() => restarting(), { timeout: 20_000 }).toBe(0)
    await project.run(whole)
    expect((await up()).release).toBe(`ponyr2/${current()}`)
    expect(Object.keys(processesOf(project.release))).toHaveLength(2)
  },
  60_000,
)

test('a lock that another run holds, or left behind: it is said whose, the app serves on, and unlock lets the next one in', async () => {
  const { vpsStore } = await import('../../../src/targets/vps/store/index.ts')
  const [before, versions] = [await up(), readdirSync(join(project.release, 'versions'))]
  await project.run(async (staging) => {
    const ada = { run: 'other', user: 'ada', machine: 'desk', command: 'tasks deploy_staging' }
    await vpsStore(staging.hosts.first(), 'pony').lock(['staging'], ada)
  })
  const operations: ((staging: VpsDeployment) => Promise<unknown>)[] = [
    (staging) => staging.deploy(),
    (staging) => staging.workers.restart(),
    (staging) => staging.server.restart(),
    (staging) => staging.database.backup(),
    (staging) => staging.database.migrate(),
  ]
  for (const operation of operations) {
    await expect(project.run(operation)).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringMatching(/staging is locked by ada on desk/),
    })
  }
  expect(await up()).toMatchObject({ status: 200, release: before.release })
  expect(readdirSync(join(project.release, 'versions'))).toEqual(versions)
  await project.run(async (staging) => {
    const by = { run: 'test', user: 'u', machine: 'm', command: 'unlock' }
    expect(await vpsStore(staging.hosts.first(), 'pony').breakLock('staging', by)).toMatchObject({ user: 'ada' })
  })
  await project.run((staging) => staging.server.restart())
}, 60_000)

test('a mistake in the settings that the app does not survive: the one before serves on, with its settings', async () => {
  const [before, settings, id] = [await up(), readFileSync(settingsFile(), 'utf8'), current()]
  project.edit('config/staging.ini', (text) => `${text}[pony\nbroken\n`)
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'install-failed',
    state: expect.stringContaining(`The running app is untouched, and ${id} is still the current version`),
    detail: expect.stringContaining('ParsingError'),
  })
  expect(readFileSync(settingsFile(), 'utf8')).toBe(settings)
  // Where the migration does not read them, it is the new server that does not start.
  project.configure((text) => text.replace(/^migrat.*\n( .*\n)*/gm, ''))
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'unhealthy',
    state: expect.stringContaining(`The version ${id} still serves, and is the current one again`),
    detail: expect.stringContaining('ParsingError'),
  })
  expect((await up()).release).toBe(before.release)
  expect(readFileSync(settingsFile(), 'utf8')).toBe(settings)
  project.edit('config/staging.ini', (text) => text.replace('[pony\nbroken\n', ''))
  // What is served can be started again, too.
  await project.run((staging) => staging.server.restart())
  expect((await up()).release).toBe(before.release)
}, 60_000)

test('something that is no socket is in the place of one: the server that runs serves on', async () => {
  const before = await up()
  const free = readlinkSync(join(project.home, '.slipway/pony/sites/staging/current.sock')).endsWith('a.sock')
    ? 'b'
    : 'a'
  const socket = join(project.release, `run/app-${free}.sock`)
  rmSync(socket, { force: true })
  mkdirSync(join(socket, 'x'), { recursive: true })
  await expect(project.run((staging) => staging.server.restart())).rejects.toMatchObject({
    code: 'unhealthy',
    detail: expect.stringContaining(`app-${free}.sock`),
    state: expect.stringContaining('still serves'),
  })
  expect((await up()).release).toBe(before.release)
  rmSync(socket, { recursive: true })
  await project.run((staging) => staging.server.restart())
}, 60_000)

test('a supervisord that is there and does not answer is named; the app serves on', async () => {
  const pid = Number(readFileSync(join(project.release, 'run/supervisord.pid'), 'utf8'))
  process.kill(pid, 'SIGSTOP')
  try {
    await expect(project.run((staging) => staging.server.restart())).rejects.toMatchObject({
      code: 'supervisor-silent',
      state: expect.stringContaining('the app serves on'),
    })
    expect((await up()).status).toBe(200)
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await project.run((staging) => staging.server.restart())
}, 60_000)

test.runIf(process.getuid?.() === 0)(
  'the disk is full before a deploy, in its upload, in its install, and when the new version is to start: the one before serves on',
  async () => {
    const full = await createProject()
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=5m', 'tmpfs', full.home], { stdio: 'ignore' })
    } catch {
      // Not everybody's root may mount.
      await full.stop()
      return
    }
    try {
      await full.run(bringUp)
      const before = await up(full)
      const versions = readdirSync(join(full.release, 'versions'))
      const filling = join(full.release, 'shared/fill')
      /** Deploys while a hook or nothing fills the disk; the app has to answer as before, and nothing half is left. */
      const failing = async (): Promise<SlipwayError> => {
        const failure = await full
          .run((staging) => staging.deploy())
          .then(
            () => undefined,
            (error: unknown) => error as SlipwayError,
          )
        expect((await up(full)).release).toBe(before.release)
        rmSync(filling)
        return failure as SlipwayError
      }
      const hook = (name: string) =>
        full.configure((text) =>
          text.replace(
            /(\[app\.hooks\]\n.*\n)?\[app\.workers\]/,
            `[app.hooks]\n${name} = cat /dev/zero > "$SLIPWAY_SHARED/fill" 2>/dev/null || :\n[app.workers]`,
          ),
        )
      const fill = (left: number) => {
        execFileSync('/bin/sh', ['-c', `cat /dev/zero >${filling} 2>/dev/null || :`])
        truncateSync(filling, statSync(filling).size - left)
      }
      full.edit('app/pony/pages.py', (text) => `${text}# changed\n`)
      fill(0)
      const atOnce = await failing()
      expect(`${atOnce.message}\n${atOnce.detail}`).toMatch(/disk is full|No space left on device/)
      expect(atOnce.state).toMatch(/Nothing was changed|untouched/)

      writeFileSync(join(full.dir, 'app/large.bin'), Buffer.alloc(400_000, 'x'))
      fill(200_000)
      expect(await failing()).toMatchObject({
        code: 'disk-full',
        detail: expect.stringContaining('No space left on device'),
        state: expect.stringContaining('The running app is untouched'),
      })
      expect(readdirSync(join(full.release, 'versions'))).toEqual(versions)
      rmSync(join(full.dir, 'app/large.bin'))

      hook('before_install')
      expect(await failing()).toMatchObject({
        code: 'install-failed',
        message: expect.stringMatching(/\(the disk is full\)|\(is the disk full\?\)/),
        next: expect.stringContaining('tasks prune:release=staging'),
        state: expect.stringContaining('The running app is untouched'),
      })
      expect(readdirSync(join(full.release, 'versions'))).toEqual(versions)

      hook('before_restart')
      expect(await failing()).toMatchObject({ code: 'unhealthy', state: expect.stringContaining('still serves') })
      full.configure((text) => text.replace(/^before_restart.*\n/m, ''))
      await full.run((staging) => staging.deploy())
      expect((await up(full)).release).toBe(`ponyr2/${current(full)}`)
      expect(existsSync(join(full.home, '.slipway/pony/locks/staging.lock'))).toBe(false)
      await full.run((staging) => staging.supervisor.stop())
    } finally {
      execFileSync('umount', ['-l', full.home])
      await full.stop()
    }
  },
  90_000,
)

test('on a port: a version that does not start is taken back, and a port that somebody else has is named', async () => {
  const port = await freePort()
  project.configure((text) => text.replace('[app]\n', `[app]\nlisten = port ${port}\n`))
  await project.run(async (staging) => {
    await staging.supervisor.stop()
    await staging.deploy()
  })
  const id = current()
  expect((await ask(port, '/up')).release).toBe(`ponyr2/${id}`)
  const broken = "raise SystemExit('broken on purpose')\n"
  project.edit('app/pony/web.py', (text) => text.replace(/^from __future__.*\n/m, `$&${broken}`))
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'unhealthy',
    detail: expect.stringContaining('broken on purpose'),
    state: expect.stringMatching(new RegExp(`^The version ${id} was started again, .*requests failed meanwhile`)),
  })
  expect((await ask(port, '/up')).release).toBe(`ponyr2/${id}`)
  expect(current()).toBe(id)
  project.edit('app/pony/web.py', (text) => text.replace(broken, ''))

  await project.run((staging) => staging.server.stop())
  const other = createServer((_, answer) => answer.end('somebody else')).listen(port, '127.0.0.1')
  await new Promise((resolve) => other.once('listening', resolve))
  expect((other.address() as AddressInfo).port).toBe(port)
  await expect(project.run((staging) => staging.server.start())).rejects.toMatchObject({
    code: 'port-taken',
    message: expect.stringContaining(`port ${port}`),
    state: 'No app server of ponyr2 runs.',
  })
  await new Promise((resolve) => other.close(resolve))
  await project.run((staging) => staging.server.start())
  expect((await ask(port, '/up')).status).toBe(200)
}, 90_000)
