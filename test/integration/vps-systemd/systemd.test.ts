import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import { local } from '../../../src/hosts/index.ts'
import { type ReleaseLayout, releaseLayout } from '../../../src/targets/vps/layout.ts'
import type { Program } from '../../../src/targets/vps/programs.ts'
import type { Supervisor } from '../../../src/targets/vps/supervisor.ts'
import {
  connectSystemd,
  proveStopped,
  requireSystemd,
  type UnitInfo,
  unitName,
  unitSteps,
} from '../../../src/targets/vps/systemd.ts'
import { type Systemd, startSystemd } from '../../servers/systemd.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const systemd = await startSystemd()
let release: ReleaseLayout

const program = (name: string, stopSeconds = 20): Program => ({
  name,
  kind: 'worker',
  of: name,
  command: '',
  stopSeconds,
  log: `${name}.out`,
})
const all = [program('polite'), program('deaf', 1), program('parent'), program('broken')]

/** `polite` ends on TERM, after its work; `deaf` does not; `parent` leaves a child behind; `broken` fails at once. */
const start = `#!/bin/sh
echo "$1 started"
case $1 in
polite) trap 'echo drained; exit 0' TERM; while :; do sleep 0.05; done ;;
deaf) trap '' TERM; while :; do sleep 0.05; done ;;
parent) setsid sleep 300 & echo "child $!"; trap 'exit 0' TERM; while :; do sleep 0.05; done ;;
*) exit 3 ;;
esac
`

beforeAll(() => {
  if (!systemd) return
  release = releaseLayout(`${systemd.home}/web apps`, systemd.home, 'ponyr2')
  mkdirSync(release.bin, { recursive: true })
  writeFileSync(release.start, start)
  chmodSync(release.start, 0o755)
})
afterAll(() => systemd?.stop())

const host = () => local().env((systemd as Systemd).env)
const log = (name: string) => readFileSync(`${release.logs}/${name}.out`, 'utf8')

function inRun<T>(fn: (units: Supervisor) => Promise<T>): Promise<T> {
  return withRun(createRun(), async () => fn((await connectSystemd(host(), release)) as Supervisor))
}

async function untilState(units: Supervisor, name: string, state: string): Promise<UnitInfo> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const info = (await units.processes()).find((each) => each.name === name)
    if (info?.state === state) return info as UnitInfo
    if (Date.now() > deadline) throw new Error(`${name} is ${info?.state}, not ${state}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

describe.runIf(systemd)('a release under a real systemd', () => {
  it('has no units before they are written, and those of its programs after', async () => {
    await withRun(createRun(), async () => {
      expect(await connectSystemd(host(), release)).toBeUndefined()
      await host().script(unitSteps(release, [...all, program('gone')]))
      await host().script(unitSteps(release, all))
      const units = (await connectSystemd(host(), release)) as Supervisor
      const processes = await units.processes()
      expect(processes.map((each) => each.name).sort()).toEqual(['broken', 'deaf', 'parent', 'polite'])
      expect(processes.every((each) => each.state === 'STOPPED')).toBe(true)
    })
  })

  it('starts a program, which is a process with a pid, and drains it', async () => {
    await inRun(async (units) => {
      await units.start('polite')
      const info = await untilState(units, 'polite', 'RUNNING')
      process.kill(info.pid, 0)
      await vi.waitFor(() => expect(log('polite')).toContain('polite started'), 30_000)
      const before = (await units.processes()) as UnitInfo[]
      await units.stop('polite', 'no-such-program')
      await untilState(units, 'polite', 'STOPPED')
      expect(log('polite')).toContain('drained')
      expect(() => process.kill(info.pid, 0)).toThrow()
      await proveStopped(host(), before, ['polite'])
      expect(await units.logTail(1000)).toBe('')
    })
  })

  it('says of a program that it had to be killed', async () => {
    await inRun(async (units) => {
      await units.start('deaf')
      const info = await untilState(units, 'deaf', 'RUNNING')
      await vi.waitFor(() => expect(log('deaf')).toContain('deaf started'), 30_000)
      await units.stop('deaf')
      await untilState(units, 'deaf', 'STOPPED')
      expect(await units.logTail(1000)).toBe(`killing 'deaf' (${info.pid}) with SIGKILL\n`)
    })
  })

  it('finds what a program left behind in another session, as long as it is there', async () => {
    await inRun(async (units) => {
      await units.start('parent')
      await untilState(units, 'parent', 'RUNNING')
      await vi.waitFor(() => expect(log('parent')).toMatch(/child \d+/), 30_000)
      const before = (await units.processes()) as UnitInfo[]
      await expect(proveStopped(host(), before, ['parent'])).rejects.toMatchObject({ code: 'processes-left' })
      const child = Number(/child (\d+)/.exec(log('parent'))?.[1])
      await units.stop('parent')
      await untilState(units, 'parent', 'STOPPED')
      await proveStopped(host(), before, ['parent'])
      expect(() => process.kill(child, 0)).toThrow()
    })
  })

  it('gives up on a program that ends at once, and starts it again when asked', async () => {
    await inRun(async (units) => {
      await units.start('broken')
      const info = await untilState(units, 'broken', 'FATAL')
      expect(info.exitStatus).toBe(3)
      expect(info.detail).toBe('exit-code')
      const tries = log('broken').split('\n').length
      await units.start('broken')
      await vi.waitFor(() => expect(log('broken').split('\n').length).toBeGreaterThan(tries), 30_000)
      await units.stop('broken')
    })
  })

  it('changes nothing in a dry run', async () => {
    await withRun(createRun({ options: { dryRun: true } }), async () => {
      const units = (await connectSystemd(host(), release)) as Supervisor
      await units.start('polite')
      expect((await units.processes()).find((each) => each.name === 'polite')?.state).toBe('STOPPED')
    })
  })

  it('is refused where it would end at logout', async () => {
    await withRun(createRun(), async () => {
      // A manager of the test's own is none that logind would end: for this, one that it would.
      const bin = `${(systemd as Systemd).home}/bin`
      mkdirSync(bin, { recursive: true })
      writeFileSync(`${bin}/systemctl`, '#!/bin/sh\n[ "$1" != --version ] || echo "systemd 252 (252.1)"\n', {
        mode: 0o755,
      })
      const loggedIn = host().env({ XDG_RUNTIME_DIR: '', PATH: `${bin}:/usr/bin:/bin` })
      await expect(requireSystemd(loggedIn)).rejects.toMatchObject({ code: 'no-linger' })
      await expect(requireSystemd(host().env({ XDG_RUNTIME_DIR: '/nowhere' }))).rejects.toMatchObject({
        code: 'no-user-manager',
      })
    })
  })

  it('has units that systemd itself finds nothing wrong with', () => {
    const said = (systemd as Systemd).systemctl('show', '--property=LoadState,LoadError', unitName('ponyr2', 'polite'))
    expect(said).toContain('LoadState=loaded')
  })
})
