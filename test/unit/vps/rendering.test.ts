import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { parseConfig } from '../../../src/config/load.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import { judge, parseAnswer } from '../../../src/targets/vps/health.ts'
import { releaseLayout } from '../../../src/targets/vps/layout.ts'
import { page } from '../../../src/targets/vps/maintenance.ts'
import { readProcesses } from '../../../src/targets/vps/processes.ts'
import { logFiles, programs } from '../../../src/targets/vps/programs.ts'
import { readSection, section, withSection } from '../../../src/targets/vps/schedule.ts'
import { render, startData, supervisorData } from '../../../src/targets/vps/templates.ts'

const folder = mkdtempSync(join(tmpdir(), 'slipway-rendering-'))
afterAll(() => rmSync(folder, { recursive: true }))
const { config } = parseConfig(
  `[app]\nname = pony\nserver = exec pony "it's" 100%\n[app.workers]\nmailer = exec mail\nmailer.processes = 2\nmailer.drain = 90s\n[app.logs]\napp = logs/pony.log\n[staging]\ntarget = vps\nhosts = a\nrelease = r1\n`,
  folder,
)
const { app } = config!.deployments['staging'] as VpsConfig
const layout = releaseLayout('~/webapps', '/home/deploy', 'ponyr1')

test('paths of a release, and a path that is too long for its sockets', () => {
  expect(layout.dir).toBe('/home/deploy/webapps/ponyr1')
  expect(layout.slotSocket('a')).toBe('/home/deploy/webapps/ponyr1/run/app-a.sock')
  expect(() => releaseLayout(`/${'x'.repeat(90)}`, '/home', 'ponyr1')).toThrow(
    expect.objectContaining({ code: 'socket-path' }),
  )
})

test('two slots of the server, and each process of each worker', () => {
  expect(programs(app).map((each) => [each.name, each.stopSeconds])).toEqual([
    ['app-a', 30],
    ['app-b', 30],
    ['mailer-1', 90],
    ['mailer-2', 90],
  ])
  expect(programs({ ...app, listen: { kind: 'port', port: 1 } }, { mailer: 0 }).map((each) => each.name)).toEqual([
    'app-a',
  ])
  expect(logFiles(app)).toEqual({
    app: ['logs/app.out', 'logs/pony.log'],
    mailer: ['logs/mailer.out'],
    supervisor: ['logs/supervisord.log'],
  })
})

test("supervisord's own parser reads the configuration as it is meant", async () => {
  const conf = join(folder, 'supervisord.conf')
  writeFileSync(conf, await render(folder, 'supervisord.conf', supervisorData(layout, programs(app))))
  const read = execFileSync('/usr/bin/python3', [
    '-c',
    'import configparser, json, sys\np = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=True)\np.read(sys.argv[1])\nprint(json.dumps({s: dict(p[s]) for s in p.sections()}))',
    conf,
  ])
  const sections = JSON.parse(read.toString()) as Record<string, Record<string, string>>
  expect(sections['unix_http_server']).toEqual({ file: layout.supervisorSocket, chmod: '0700' })
  expect(sections['program:app-a']).toMatchObject({
    command: `/bin/sh ${layout.start} app-a`,
    autostart: 'false',
    startsecs: '0',
    stopwaitsecs: '30',
    stopasgroup: 'false',
    killasgroup: 'true',
    stdout_logfile: `${layout.logs}/app.out`,
  })
  // A worker that nothing but a full disk kept from starting comes back once there is room.
  expect(sections['program:mailer-2']).toMatchObject({ startsecs: '1', stopwaitsecs: '90', startretries: '1000000' })
  expect(() => supervisorData({ ...layout, dir: '/home/a b' }, [])).toThrow(
    expect.objectContaining({ code: 'supervisor-path' }),
  )
})

test('the start script runs commands in the version, with its environment', async () => {
  const home = join(folder, 'home')
  const here = releaseLayout('~/webapps', home, 'ponyr1')
  mkdirSync(here.version('v1'), { recursive: true })
  mkdirSync(here.settings, { recursive: true })
  mkdirSync(here.run)
  symlinkSync('versions/v1', here.current)
  writeFileSync(`${here.settings}/staging.environment`, "export MOOD='it'\\''s fine'\n")
  const server = `echo "$SLIPWAY_SOCKET $SLIPWAY_VERSION $MOOD"; pwd`
  const data = startData({ app: 'pony', deployment: 'staging', layout: here, programs: programs({ ...app, server }) })
  writeFileSync(join(folder, 'start'), await render(folder, 'start', data))
  const start = (...words: string[]) =>
    execFileSync('/bin/sh', [join(folder, 'start'), ...words], {
      env: { PATH: '/usr/bin:/bin' },
      stdio: 'pipe',
    }).toString()
  expect(start('app-b')).toBe(`${here.slotSocket('b')} v1 it's fine\n${here.version('v1')}\n`)
  expect(readFileSync(`${here.run}/app-b.version`, 'utf8')).toBe('v1\n')
  expect(start('run', 'echo "$SLIPWAY_RELEASE $SLIPWAY_PROCESS"')).toBe(`ponyr1 ${here.dir}:run\n`)
  expect(() => start('nonsense')).toThrow(/there is no program nonsense/)
})

test('a crontab keeps every line that is not ours', () => {
  const other = 'MAILTO=x\n0 1 * * * other # 100%\n'
  const entries = [{ name: 'expire', when: '15 3 * * *', command: `python3 -c 'print(5 % 2)'` }]
  const with1 = withSection(other, 'pony', 'staging', section('pony', 'staging', layout, entries))
  expect(with1.startsWith(other)).toBe(true)
  expect(with1).toContain(
    '@reboot /bin/sh /home/deploy/webapps/ponyr1/bin/boot >>/home/deploy/webapps/ponyr1/logs/boot.out 2>&1\n',
  )
  expect(with1).toContain('\\% 2')
  expect(readSection(with1, 'pony', 'staging')).toEqual(entries)
  expect(readSection(with1, 'pony', 'production')).toEqual([])
  expect(withSection(with1, 'pony', 'staging', section('pony', 'staging', layout, entries))).toBe(with1)
  expect(withSection(with1, 'pony', 'staging', [])).toBe(other)
})

test('health is a status, a body, and the very version', () => {
  const health = { path: '/up', status: 200, body: 'ok', deadlineMs: 1 }
  const answer = { status: 200, headers: { 'x-release': 'ponyr1/v2' }, body: 'all ok' }
  expect(judge(answer, health, 'ponyr1/v2')).toMatchObject({ healthy: true })
  expect(judge(answer, health, 'ponyr1/v3')).toMatchObject({
    healthy: false,
    detail: '/up was answered by ponyr1/v2, not ponyr1/v3',
  })
  expect(judge({ ...answer, body: 'no' }, health)).toMatchObject({
    healthy: false,
    detail: '/up answered without "ok": no',
  })
  expect(judge({ ...answer, status: 503, body: 'db\ndown' }, health).detail).toBe('/up answered 503, not 200: db down')
  expect(parseAnswer('HTTP/1.0 200 OK\r\nX-Release: a/b\r\n\r\nhello')).toEqual({
    status: 200,
    headers: { 'x-release': 'a/b' },
    body: 'hello',
  })
  expect(() => parseAnswer('SSH-2.0-x')).toThrow('what answers is not HTTP')
})

test('processes are read line by line, and anything else is left out', () => {
  expect(readProcesses('12 345 app-a\nnonsense\n 13 346 mailer-1 \n')).toEqual([
    { pid: 12, startTime: '345', program: 'app-a' },
    { pid: 13, startTime: '346', program: 'mailer-1' },
  ])
})

test('a maintenance page shows its message as text', () => {
  expect(page('<b>&')).toContain('<p>&lt;b>&amp;</p>'.replace('b>', 'b&gt;'))
})
