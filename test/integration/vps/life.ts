/** The life of a release under what runs its programs, whatever that is: the same facts, held for each. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, copyFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { ask, type Project, told } from './host.ts'

/** Processes of the release, by the name in their environment: of each program the first, not what it has started. */
export function processesOf(release: string): Record<string, number> {
  const found: Record<string, number> = {}
  const parents: Record<string, string[]> = {}
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
      const program = new RegExp(`(?:^|\\0)SLIPWAY_PROCESS=${release}:([^\\0]*)`).exec(environment)?.[1]
      if (!program) continue
      const parent = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop()?.split(' ')[1] as string
      parents[program] = [...(parents[program] ?? []), `${pid} ${parent}`]
    } catch {
      // It has ended meanwhile.
    }
  }
  for (const [program, each] of Object.entries(parents)) {
    const pids = each.map((line) => line.split(' ')[0])
    const first = each.find((line) => !pids.includes(line.split(' ')[1])) ?? each[0]
    found[program] = Number(first?.split(' ')[0])
  }
  return found
}

/** A server that reloads by itself; app/banner.py says what it answers. */
export const preforkFile = fileURLToPath(new URL('../../fixtures/prefork.py', import.meta.url))

const broken = 'raise SystemExit("broken on purpose")\n'

/** Tests that build on each other, on a project that was configured and nothing else. */
export function lifeOfARelease(of: () => Project): void {
  const up = () => ask(join(of().home, '.slipway/pony/sites/staging/current.sock'), '/up')
  const programs = () => Object.keys(processesOf(of().release)).sort()

  test('from nothing to a running app, which answers as its version', async () => {
    const { value: version } = await of().run(async (staging) => {
      await staging.upload()
      const installed = await staging.install()
      await staging.database.init()
      await staging.server.start()
      await staging.workers.start()
      return installed
    })
    expect(await up()).toMatchObject({ status: 200, release: `ponyr2/${version.id}` })
    expect(programs()).toEqual(['app-a', 'mailer-1'])
    // None of its own.
    expect(existsSync(join(of().release, 'run/supervisord.pid'))).toBe(false)
    const { value: status } = await of().run((staging) => staging.status())
    expect(status).toMatchObject({ healthy: true, warnings: [], workers: [{ name: 'mailer-1', state: 'running' }] })
  }, 90_000)

  test('a deploy starts the other slot, which takes over, and the workers anew', async () => {
    of().edit('app/pony/pages.py', (text) => `${text}# changed\n`)
    const before = processesOf(of().release)
    const { value: version } = await of().run((staging) => staging.deploy())
    expect(await up()).toMatchObject({ status: 200, release: `ponyr2/${version.id}` })
    expect(programs()).toEqual(['app-b', 'mailer-1'])
    expect(processesOf(of().release)['mailer-1']).not.toBe(before['mailer-1'])
  }, 90_000)

  test('workers are scaled up and down, and the others go on meanwhile', async () => {
    const one = processesOf(of().release)['mailer-1']
    await of().run((staging) => staging.workers.scale({ mailer: 3 }))
    expect(programs()).toEqual(['app-b', 'mailer-1', 'mailer-2', 'mailer-3'])
    await of().run((staging) => staging.workers.scale({ mailer: 1 }))
    expect(programs()).toEqual(['app-b', 'mailer-1'])
    expect(processesOf(of().release)['mailer-1']).toBe(one)
  }, 90_000)

  test('code that does not start never gets the site, and the version before is the current one again', async () => {
    const { release } = await up()
    of().edit('app/pony/web.py', (text) => text.replace(/^from __future__.*\n/m, `$&${broken}`))
    await expect(of().run((staging) => staging.deploy())).rejects.toMatchObject({
      code: 'unhealthy',
      state: expect.stringContaining('still serves'),
      detail: expect.stringContaining('broken on purpose'),
    })
    of().edit('app/pony/web.py', (text) => text.replace(broken, ''))
    expect(await up()).toMatchObject({ status: 200, release })
    expect(programs()).toEqual(['app-b', 'mailer-1'])
  }, 90_000)

  test('a worker that ends at once is told with its last lines', async () => {
    of().configure((text) => text.replace(/^mailer = .*$/m, 'mailer = echo no such queue; exit 3'))
    await of().run((staging) => staging.install())
    await expect(of().run((staging) => staging.workers.restart())).rejects.toMatchObject({
      code: 'worker-failed',
      detail: expect.stringContaining('no such queue'),
    })
    of().configure((text) => text.replace(/^mailer = .*$/m, 'mailer = exec python3 -m pony.worker'))
    await of().run(async (staging) => {
      await staging.install()
      await staging.workers.restart()
    })
    expect((await up()).status).toBe(200)
    expect(programs()).toContain('mailer-1')
  }, 90_000)

  test('one that does not drain in time is killed, and that is told', async () => {
    const deaf = `exec python3 -c "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"`
    of().configure((text) =>
      text.replace(/^mailer = .*$/m, `mailer = ${deaf}`).replace(/^mailer.drain = .*$/m, 'mailer.drain = 1s'),
    )
    await of().run(async (staging) => {
      await staging.install()
      await staging.workers.restart()
    })
    await expect
      .poll(() => readFileSync(join(of().release, 'logs/mailer.out'), 'utf8'), { timeout: 20_000 })
      .toMatch(/^deaf$/m)
    const pid = processesOf(of().release)['mailer-1']
    const { events } = await of().run((staging) => staging.workers.stop())
    expect(told(events)).toContain(`mailer-1 (pid ${pid}) did not finish within 1 s and was killed`)
    expect(programs()).toEqual(['app-b'])
    of().configure((text) =>
      text
        .replace(/^mailer = .*$/m, 'mailer = exec python3 -m pony.worker')
        .replace(/^mailer.drain = .*$/m, 'mailer.drain = 10s'),
    )
    await of().run(async (staging) => {
      await staging.install()
      await staging.workers.start()
    })
  }, 90_000)

  test("the server's own reload reaches the same process; a log past its size is emptied under who writes it", async () => {
    copyFileSync(preforkFile, join(of().dir, 'app/prefork.py'))
    writeFileSync(join(of().dir, 'app/banner.py'), "text = 'one'\n")
    of().configure((text) =>
      text
        .replace('server = exec python3 -m pony.web', 'server = exec python3 prefork.py\nreload = HUP')
        .replace(/^mailer = .*$/m, 'mailer = i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.02; done'),
    )
    await of().run((staging) => staging.deploy())
    const master = async () =>
      (await of().run((staging) => staging.server.status())).value.find((each) => each.state === 'running')?.pid
    const [pid, before] = [await master(), await up()]
    expect(pid).toBeGreaterThan(0)
    await of().run((staging) => staging.reload())
    await expect.poll(async () => (await up()).headers['x-worker']).not.toBe(before.headers['x-worker'])
    expect(await master()).toBe(pid)

    const log = join(of().release, 'logs/mailer.out')
    const numbers = () =>
      [`${log}.1`, log]
        .filter((file) => existsSync(file))
        .flatMap((file) => [...readFileSync(file, 'utf8').matchAll(/^line (\d+)$/gm)].map((match) => Number(match[1])))
    // More than it may have; what was appended from outside may have cut a line of the program's in two.
    appendFileSync(log, `${'x'.repeat(11 * 1024 * 1024)}\n`)
    execFileSync('/bin/sh', [join(of().release, 'bin/rotate')])
    const last = numbers().at(-1) as number
    await expect.poll(() => numbers().at(-1)).toBeGreaterThan(last)
    expect(statSync(`${log}.1`).size).toBeGreaterThan(10 * 1024 * 1024)
    expect(statSync(log).size).toBeLessThan(1024 * 1024)
    const all = numbers()
    // Between the last look and the emptying is a moment: a line every 20 ms would have to be unlucky.
    expect((all.at(-1) as number) - all.length).toBeLessThanOrEqual(2)
  }, 90_000)

  test('stopped is stopped, by the word of the kernel; what ran comes back after a reboot', async () => {
    await of().run(async (staging) => {
      await staging.workers.stop()
      await staging.server.stop()
    })
    expect(programs()).toEqual([])
    const boot = (environment: Record<string, string> = {}) =>
      execFileSync('/bin/sh', [join(of().release, 'bin/boot')], {
        env: { PATH: '/usr/bin:/bin', HOME: of().home, ...environment },
        stdio: 'pipe',
      })
    boot(bootEnvironment)
    expect(programs()).toEqual([])
    await of().run(async (staging) => {
      await staging.server.start()
      await staging.workers.start()
    })
    const wanted = programs()
    const ran = processesOf(of().release)
    await of().run((staging) => staging.supervisor.stop())
    expect(programs()).toEqual([])
    // As it was when the power went.
    for (const name of ['app', 'workers']) execFileSync('touch', [join(of().release, '.slipway/wanted', name)])
    boot(bootEnvironment)
    await expect.poll(programs, { timeout: 20_000 }).toEqual(wanted)
    expect(processesOf(of().release)).not.toEqual(ran)
    await expect.poll(async () => (await up()).status, { timeout: 20_000 }).toBe(200)
    await of().run((staging) => staging.supervisor.stop())
    expect(programs()).toEqual([])
  }, 90_000)
}

/** What cron's environment lacks here and has on a machine of its own. */
export const bootEnvironment: Record<string, string> = {}
