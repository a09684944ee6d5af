import { describe, expect, it } from 'vitest'
import { releaseLayout } from '../../../src/targets/vps/layout.ts'
import type { Program } from '../../../src/targets/vps/programs.ts'
import { programOf, readSystemdFacts, readUnits, renderUnit, unitName } from '../../../src/targets/vps/systemd.ts'

const program: Program = {
  name: 'mailer-1',
  kind: 'worker',
  of: 'mailer',
  command: 'exec python3 -m pony.worker',
  stopSeconds: 45,
  log: 'mailer.out',
}

const block = (values: Record<string, string | number>) =>
  Object.entries(values)
    .map(([key, value]) => `${key}=${value}`)
    .join('\n')

describe('a unit', () => {
  it('starts the program, gives it its time to end, and appends to its log', () => {
    const text = renderUnit(releaseLayout('~/webapps', '/home/deploy', 'ponyr2'), program)
    expect(text).toContain('ExecStart=/bin/sh "/home/deploy/webapps/ponyr2/bin/start" "mailer-1"\n')
    expect(text).toContain('TimeoutStopSec=45\n')
    expect(text).toContain('StandardOutput=append:/home/deploy/webapps/ponyr2/logs/mailer.out\n')
    expect(text).toContain('WorkingDirectory=/home/deploy/webapps/ponyr2\n')
  })

  it('holds paths that systemd would read otherwise', () => {
    const text = renderUnit(releaseLayout('/srv/a "b" $c %d', '/home/deploy', 'ponyr2'), program)
    expect(text).toContain('ExecStart=/bin/sh "/srv/a \\"b\\" $$c %%d/ponyr2/bin/start"')
    expect(text).toContain('WorkingDirectory=/srv/a "b" $c %%d/ponyr2\n')
  })

  it('is named after its release and program, and found again by that name', () => {
    expect(programOf('ponyr2', unitName('ponyr2', 'app-a'))).toBe('app-a')
    expect(programOf('ponyr2', 'slipway-ponyr20-app-a.service')).toBeUndefined()
    expect(programOf('ponyr2', 'nginx.service')).toBeUndefined()
  })
})

describe('what systemd says of units', () => {
  const states: [string, Record<string, string>, string][] = [
    ['running', { ActiveState: 'active', SubState: 'running' }, 'RUNNING'],
    ['being started', { ActiveState: 'activating', SubState: 'start' }, 'STARTING'],
    ['waiting to be started again', { ActiveState: 'activating', SubState: 'auto-restart' }, 'BACKOFF'],
    ['draining', { ActiveState: 'deactivating', SubState: 'stop-sigterm' }, 'STOPPING'],
    ['stopped', { ActiveState: 'inactive', SubState: 'dead' }, 'STOPPED'],
    ['given up', { ActiveState: 'failed', SubState: 'failed', Result: 'exit-code' }, 'FATAL'],
    ['stopped by a kill', { ActiveState: 'failed', SubState: 'failed', Result: 'timeout' }, 'STOPPED'],
    ['unknown', { ActiveState: 'reloading-something', SubState: 'x' }, 'UNKNOWN'],
  ]
  it.each(states)('%s', (_name, values, state) => {
    const text = `Uptime=100.5\n\n${block({ Id: 'slipway-ponyr2-app-a.service', ...values })}\n`
    expect(readUnits('ponyr2', text)[0]?.state).toBe(state)
  })

  it('has pid, uptime, control group and what became of a stop', () => {
    const text = `Uptime=100.5

${block({ Id: 'slipway-ponyr2-app-a.service', ActiveState: 'active', SubState: 'running', MainPID: 42, ExecMainStartTimestampMonotonic: 40_500_000, ControlGroup: '/user.slice/a' })}

${block({ Id: 'slipway-ponyr2-mailer-1.service', ActiveState: 'failed', SubState: 'failed', Result: 'timeout', MainPID: 0, ExecMainPID: 43, ExecMainStatus: 9 })}
`
    const [app, mailer] = readUnits('ponyr2', text)
    expect(app).toMatchObject({
      name: 'app-a',
      pid: 42,
      uptimeSeconds: 60,
      controlGroup: '/user.slice/a',
      killed: false,
    })
    expect(mailer).toMatchObject({ name: 'mailer-1', pid: 0, lastPid: 43, killed: true, exitStatus: 9 })
  })

  it('tells whether units would start at all', () => {
    expect(readSystemdFacts('version 252\nreachable\nlinger\n')).toEqual({
      version: 252,
      reachable: true,
      linger: true,
    })
    expect(readSystemdFacts('')).toEqual({ version: 0, reachable: false, linger: false })
  })
})
