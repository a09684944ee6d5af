/** Starting and stopping are proved, whatever state the release was left in. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../../servers/ports.ts'
import { ask, bringUp, createProject, type Project, told } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
  await project.run(bringUp)
}, 60_000)
afterAll(() => project.stop())

const up = () => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')
const daemonPid = () => Number(readFileSync(join(project.release, 'run/supervisord.pid'), 'utf8'))
const running = (pid: number) => existsSync(`/proc/${pid}`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
/** Processes of the release, by the name in their environment. */
function processes(): Record<string, number> {
  const found: Record<string, number> = {}
  for (const pid of execFileSync('ls', ['/proc'])
    .toString()
    .split('\n')
    .filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
      const program = new RegExp(`(?:^|\\0)SLIPWAY_PROCESS=${project.release}:([^\\0]*)`).exec(environment)?.[1]
      if (program) found[program] = Number(pid)
    } catch {
      // It has ended meanwhile.
    }
  }
  return found
}
async function gone(pid: number): Promise<void> {
  while (running(pid)) await new Promise((resolve) => setTimeout(resolve, 10))
}

test('a daemon that was killed leaves orphans: status names them, a restart serves on and ends them', async () => {
  const before = await up()
  const pid = daemonPid()
  process.kill(pid, 'SIGKILL')
  await gone(pid)
  const { value: status } = await project.run((staging) => staging.status())
  expect(status.healthy).toBe(true)
  expect(status.warnings).toEqual([
    expect.stringMatching(/^app-[ab] \(pid \d+\) runs without a supervisord/),
    expect.stringMatching(/^mailer-1 \(pid \d+\) runs without a supervisord/),
  ])
  const orphan = processes()['mailer-1'] as number
  expect(existsSync(join(project.release, 'run/supervisord.pid'))).toBe(true)

  const { events } = await project.run(async (staging) => {
    await staging.server.restart()
    await staging.workers.restart()
  })
  expect(told(events).join('\n')).toMatch(/running without their supervisord/)
  expect(await up()).toMatchObject({ status: 200, release: before.release })
  expect(running(orphan)).toBe(false)
  const after = await project.run((staging) => staging.status())
  expect(after.value.warnings).toEqual([])
  // To supervisord it is starting until its startsecs are over.
  expect(after.value.workers).toMatchObject([{ state: expect.stringMatching(/^(running|starting)$/) }])
  expect(running(processes()['mailer-1'] as number)).toBe(true)
}, 60_000)

test('a second daemon for the release can not be started', async () => {
  const pid = daemonPid()
  expect(() =>
    execFileSync('/usr/bin/supervisord', ['-c', join(project.release, 'etc/supervisord.conf')], { stdio: 'pipe' }),
  ).toThrow(/already listening/)
  await project.run((staging) => staging.server.start())
  expect(daemonPid()).toBe(pid)
}, 30_000)

test('a worker that does not drain in time is killed, and that is told', async () => {
  project.configure((text) =>
    text
      .replace(
        'mailer = exec python3 -m pony.worker',
        `mailer = exec python3 -c "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"`,
      )
      .replace('mailer.drain = 10s', 'mailer.drain = 1s'),
  )
  await project.run((staging) => staging.install())
  await project.run((staging) => staging.workers.restart())
  await expect
    .poll(() => readFileSync(join(project.release, 'logs/mailer.out'), 'utf8'), { timeout: 20_000 })
    .toMatch(/^deaf$/m)
  const { pid } = (await project.run((staging) => staging.workers.status())).value[0] as { pid: number }
  const { events } = await project.run((staging) => staging.workers.stop())
  expect(told(events)).toContain(`mailer-1 (pid ${pid}) did not finish within 1 s and was killed`)
  expect(running(pid)).toBe(false)
  expect((await up()).status).toBe(200)
}, 60_000)

test('a worker that ends at once is told with its last lines, and the app is left alone', async () => {
  project.configure((text) => text.replace(/^mailer = .*$/m, 'mailer = echo no such queue; exit 3'))
  await project.run((staging) => staging.install())
  await expect(project.run((staging) => staging.workers.start())).rejects.toMatchObject({
    code: 'worker-failed',
    detail: expect.stringContaining('no such queue'),
    state: 'The app server is left as it is.',
    next: 'Look at its log: `tasks logs:release=staging --source mailer`.',
  })
  expect((await up()).status).toBe(200)
  project.configure((text) => text.replace(/^mailer = .*$/m, 'mailer = exec python3 -m pony.worker'))
  await project.run((staging) => staging.install())
}, 60_000)

test('a worker that has a health check counts as started once that succeeds, and else says what it answered', async () => {
  const well = join(project.release, 'shared/well')
  project.configure((text) =>
    text
      .replace('health_deadline = 15s', 'health_deadline = 1s')
      .replace('mailer.drain = 1s', 'mailer.drain = 10s\nmailer.health = cat "$SLIPWAY_SHARED/well"'),
  )
  await project.run((staging) => staging.install())
  for (const verb of ['start', 'restart'] as const) {
    await expect(project.run((staging) => staging.workers[verb]())).rejects.toMatchObject({
      code: 'worker-unhealthy',
      message: 'mailer was not well on pony-host within 1 s',
      detail: expect.stringMatching(/ended with status 1\n.*No such file/),
      state: 'The app server is left as it is; the worker runs on.',
      next: expect.stringContaining('`tasks logs:release=staging --source mailer`'),
    })
  }
  expect((await up()).status).toBe(200)
  project.configure((text) =>
    text
      .replace('health_deadline = 1s', 'health_deadline = 15s')
      .replace(/^mailer = (.*)$/m, 'mailer = echo well > "$SLIPWAY_SHARED/well"; $1'),
  )
  await project.run((staging) => staging.install())
  for (const verb of ['restart', 'stop', 'start'] as const) {
    rmSync(well, { force: true })
    const { events } = await project.run((staging) => staging.workers[verb]())
    const asked = events.some((event) => event.type === 'step.started' && event.title.startsWith('mailer is well: '))
    expect(asked).toBe(verb !== 'stop')
    expect(existsSync(well)).toBe(asked)
  }
  project.configure((text) =>
    text.replace(/^mailer\.health.*\n/m, '').replace(/^mailer = .*$/m, 'mailer = exec python3 -m pony.worker'),
  )
  await project.run((staging) => staging.install())
}, 60_000)

test('stopping everything leaves no process, no daemon, and a stale pid file is no obstacle', async () => {
  await project.run((staging) => staging.supervisor.stop())
  expect(processes()).toEqual({})
  await expect(up()).rejects.toThrow()
  writeFileSync(join(project.release, 'run/supervisord.pid'), `${process.pid}\n`)
  writeFileSync(join(project.release, 'run/app-a.sock'), '')
  await project.run((staging) => staging.server.start())
  expect((await up()).status).toBe(200)
  expect(daemonPid()).not.toBe(process.pid)
}, 60_000)

test('after a reboot the crontab brings back what ran, and nothing while a change is unfinished', async () => {
  await project.run((staging) => staging.schedule.push())
  expect(execFileSync('/bin/sh', [join(project.home, '../bin/crontab'), '-l']).toString()).toContain(
    `@reboot /bin/sh ${project.release}/bin/boot >>`,
  )
  await project.run((staging) => staging.workers.start())
  await project.run((staging) => staging.workers.stop())
  const boot = () =>
    execFileSync('/bin/sh', [join(project.release, 'bin/boot')], {
      env: { PATH: '/usr/bin:/bin', HOME: project.home },
      stdio: 'pipe',
    })
  // What a power cut leaves: no process, a socket and a pid file.
  const cut = async () => {
    for (const pid of [daemonPid(), ...Object.values(processes())]) {
      process.kill(pid, 'SIGKILL')
      await gone(pid)
    }
  }
  await cut()
  boot()
  expect(Object.keys(processes()).map((name) => name.replace(/-[ab]$/, ''))).toEqual(['app'])
  await project.run((staging) => staging.workers.start())
  await cut()
  mkdirSync(join(project.home, '.slipway/pony/journals'), { recursive: true })
  const journal = join(project.home, '.slipway/pony/journals/x.journal')
  writeFileSync(journal, 'half of a line')
  expect(boot).toThrow(/a change was not finished/)
  // Nor by hand; what a daemon starts is whoever's change it is.
  const byHand = (...words: string[]) =>
    execFileSync('/bin/sh', [join(project.release, 'bin/start'), ...words], {
      env: { PATH: '/usr/bin:/bin', HOME: project.home },
      stdio: 'pipe',
    }).toString()
  expect(() => byHand('app-a')).toThrow(/app-a is not started: a change is not finished/)
  expect(byHand('run', 'echo "$SLIPWAY_RELEASE"')).toBe('ponyr2\n')
  expect(processes()).toEqual({})
  rmSync(journal)
  const roles = join(project.home, '.slipway/pony/roles.json')
  const recorded = readFileSync(roles, 'utf8')
  writeFileSync(roles, '{"production":"ponyr3","former":"ponyr2"}')
  boot()
  expect(processes()).toEqual({})
  writeFileSync(roles, recorded)
  boot()
  expect(Object.keys(processes())).toHaveLength(2)
}, 60_000)

test('an app on a port restarts with a word about what is lost', async () => {
  const port = await freePort()
  project.configure((text) => text.replace('[app]\n', `[app]\nlisten = port ${port}\n`))
  await project.run(async (staging) => {
    await staging.supervisor.stop()
    await staging.upload()
    await staging.install()
    await staging.server.start()
  })
  const { events } = await project.run((staging) => staging.server.restart())
  expect(told(events).join('\n')).toContain('requests fail while it restarts')
  expect(told(events).join('\n')).toMatch(/^nobody answered on the port for up to \d+(\.\d+)? m?s$/m)
  const { value: status } = await project.run((staging) => staging.status())
  expect(status).toMatchObject({ healthy: true, server: [{ name: 'app-a', state: 'running' }] })
}, 60_000)
