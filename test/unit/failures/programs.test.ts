/** What programs can do that break off, or don't answer: each with its own code and sentence. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { host, local } from 'slipway'
import { fakeHosts, recordRun } from 'slipway/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import { SlipwayError } from '../../../src/events/index.ts'
import { dialError } from '../../../src/hosts/dial.ts'
import { rsyncError } from '../../../src/hosts/rsync.ts'
import { startNginx } from '../../../src/sandbox/nginx.ts'
import { sh } from '../../../src/shell/index.ts'
import { notRunning } from '../../../src/targets/vps/bring-up.ts'
import { ensureDaemon } from '../../../src/targets/vps/daemon.ts'
import { carryFile } from '../../../src/targets/vps/database/carry.ts'
import { releaseLayout } from '../../../src/targets/vps/layout.ts'
import { refuseRunning } from '../../../src/targets/vps/promotion/promotions.ts'
import { stepError } from '../../../src/targets/vps/promotion/window.ts'
import { prepareSource } from '../../../src/targets/vps/source.ts'
import { connectSupervisor } from '../../../src/targets/vps/supervisor.ts'
import { connectSystemd } from '../../../src/targets/vps/systemd.ts'
import { render } from '../../../src/targets/vps/templates.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-programs-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

const release = releaseLayout('~/webapps', '/home/deploy', 'ponyr2')
const change = { release, facts: { tools: { supervisord: '/usr/bin/supervisord' } } } as never

function told(error: unknown): SlipwayError {
  if (!(error instanceof SlipwayError)) throw new Error(`no SlipwayError: ${String(error)}`)
  expect(`${error.message} ${error.state ?? ''} ${error.next ?? ''}`).not.toMatch(/\bundefined\b|\[object|\bNaN\b/)
  return error
}

/** The error of `body`, with hosts whose every command ends so. */
async function failure(body: () => unknown, answer: { exitCode?: number; stderr?: string; stdout?: string } = {}) {
  return told((await recordRun(async () => await body(), { hosts: fakeHosts({ answer: () => answer }) })).error)
}

/** The error of `body` on this machine. */
const here = async (body: () => unknown) => told((await recordRun(async () => await body(), { projectDir: dir })).error)

describe('on a host', () => {
  test('systemd that does not answer its user', async () => {
    const stderr = 'Failed to connect to bus: No medium found'
    const error = await failure(() => connectSystemd(host('h'), release), { exitCode: 1, stderr })
    expect(error).toMatchObject({ code: 'systemd-silent', message: 'systemctl --user failed on h', detail: stderr })
  })

  test('supervisord that was started, and is not there', async () => {
    const context = { deployment: { services: 'supervisor' } } as never
    const error = await failure(() => ensureDaemon(context, host('h'), change), { stdout: 'Error: the port is taken' })
    expect(error).toMatchObject({ code: 'supervisor-start', message: 'supervisord did not start on h' })
    expect(error.detail).toContain('the port is taken')
  })

  test('an app server that answered, and ended; one that is not up for long enough', async () => {
    const run = (ended?: string) =>
      failure(
        async () => {
          throw await notRunning(host('h'), change, 'a', ended)
        },
        { stdout: 'MemoryError' },
      )
    expect(await run('exit status 1')).toMatchObject({
      code: 'server-died',
      message: 'app-a answered, and then ended: exit status 1',
      detail: 'MemoryError',
    })
    expect(await run()).toMatchObject({ code: 'server-not-running', message: 'app-a is not RUNNING' })
  })

  test.each([
    ['Nothing was exchanged: the disk is full\nwhat it printed\n', 'Nothing was exchanged: the disk is full'],
    ['Traceback (most recent call last):\n  File "x"\nOSError: gone\n', 'OSError: gone'],
    ['', 'the step ended without saying why'],
  ])('a step of a promotion that fails with %j', (stderr, message) => {
    expect(told(stepError(host('h'), stderr))).toMatchObject({ code: 'host-step-failed', message, host: 'h' })
  })
})

describe('of a connection', () => {
  test.each([
    ['EHOSTUNREACH', 'there is no route to web1 (192.0.2.1:22)'],
    ['ENETUNREACH', 'there is no route to web1 (192.0.2.1:22)'],
    ['EPROTO', 'web1 could not be reached: EPROTO'],
  ])('%s', (code, message) => {
    const error = dialError('web1', '192.0.2.1:22', Object.assign(new Error(code), { code }))
    expect(told(error)).toMatchObject({ code: 'host-unreachable', message, host: 'web1' })
  })

  test.each([
    [127, 'bash: rsync: command not found', 'rsync-missing', 'web1 has no rsync'],
    [12, 'error in rsync protocol data stream', 'rsync-failed', "upload failed on web1 with rsync's status 12"],
  ])('rsync that ends with %i: %s', (status, said, code, message) => {
    expect(told(rsyncError({ name: 'web1' } as never, 'upload', status, said, undefined, 1))).toMatchObject({
      code,
      message,
      detail: said,
    })
  })

  test('a file that can’t be read is not carried', async () => {
    const { error } = await recordRun(() =>
      carryFile(local(), join(dir, 'none'), local(), join(dir, 'to'), { bytes: 4, sha256: 'x' }),
    )
    expect(told(error)).toMatchObject({ code: 'carry-failed' })
    expect(told(error).detail).toMatch(/No such file/)
  })
})

describe('supervisord', () => {
  /** What something on its socket that answers so is told as. */
  async function asked(answer: (socket: Socket) => void): Promise<SlipwayError> {
    const path = join(dir, 's.sock')
    const server = createServer((socket) => socket.once('data', () => answer(socket))).listen(path)
    await once(server, 'listening')
    try {
      return await here(async () => (await connectSupervisor(local(), path))?.processes())
    } finally {
      server.close()
    }
  }

  test('that breaks off', async () => {
    expect(await asked((socket) => socket.destroy())).toMatchObject({
      code: 'supervisor-silent',
      state: 'The programs it runs are left as they are.',
    })
  })

  test('that is something else', async () => {
    const error = await asked((socket) => socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone'))
    expect(error).toMatchObject({ code: 'supervisor-http', detail: 'none' })
    expect(error.message).toMatch(/answered 404 to/)
  })
})

describe('here', () => {
  test('a script of which no step was begun: its folder is not there', async () => {
    const error = await here(() =>
      local()
        .cd(join(dir, 'gone'))
        .script([{ name: 'link', command: sh`:` }]),
    )
    expect(error).toMatchObject({ code: 'script-not-run', state: 'None of its steps was begun.' })
  })

  test('a process of a release that is to be deleted', async () => {
    const path = join(dir, 'ponyr1')
    const child = spawn('sleep', ['60'], { env: { ...process.env, SLIPWAY_PROCESS: `${path}:app-a` } })
    try {
      expect(await here(() => refuseRunning(local(), path))).toMatchObject({
        code: 'still-running',
        message: `a process of ${path} still runs: ${child.pid}`,
        state: 'It was not deleted.',
      })
    } finally {
      child.kill()
      await once(child, 'close')
    }
    await recordRun(() => refuseRunning(local(), path)).then(({ error }) => expect(error).toBeUndefined())
  })

  test('a template that the package does not have', async () => {
    expect(await here(() => render(dir, 'nowhere', {}))).toMatchObject({
      code: 'no-template',
      message: expect.stringContaining('there is no template nowhere'),
    })
  })

  test('a source that the commit does not have', async () => {
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', dir, '-c', 'user.name=a', '-c', 'user.email=a@example.org', ...args])
    git('init', '-q', '-b', 'main')
    git('commit', '-q', '--allow-empty', '-m', 'one')
    mkdirSync(join(dir, 'config'))
    mkdirSync(join(dir, 'later'))
    writeFileSync(
      join(dir, 'config/deploy.ini'),
      '[app]\nname = pony\nsource = later\nserver = exec server\n[staging]\ntarget = vps\nhosts = web1\nrelease = r2\n',
    )
    const config = loadConfig(dir)
    const deployment = config.deployments['staging']
    const error = await here(() => prepareSource({ config, deployment } as never, { ref: 'main' }))
    expect(error).toMatchObject({ code: 'git-archive', message: 'git could not take later out of main' })
    expect(error.detail).toContain("pathspec 'later' did not match")
  })

  test('nginx on a port that is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    try {
      const failing = startNginx({ dir, port, include: [join(dir, 'none/*.conf')] })
      await expect(failing).rejects.toMatchObject({ code: 'nginx-failed', next: 'Choose another port.' })
    } finally {
      server.close()
    }
  })
})
