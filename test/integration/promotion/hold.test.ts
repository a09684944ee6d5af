import { execFileSync, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Nginx, startNginx } from '../../../src/sandbox/nginx.ts'
import { freePort } from '../../../src/sandbox/ports.ts'
import { startLoad } from '../../faults/load.ts'

const holdScript = fileURLToPath(new URL('../../../templates/hold/hold.py', import.meta.url))

let dir: string
let nginx: Nginx
let apps: App[]

interface App {
  socket: string
  marks: string[]
  stop(): Promise<void>
}

beforeEach(async () => {
  dir = mkdtempSync('/tmp/slipway-hold-')
  apps = []
  mkdirSync(join(dir, 'state'))
  writeFileSync(
    join(dir, 'site.conf'),
    `upstream held { server "unix:${dir}/current.sock"; }
     server {
       listen 127.0.0.1:PORT; server_name pony.example.org; client_max_body_size 20m;
       location /short/ { proxy_pass http://held; proxy_read_timeout 1s; proxy_next_upstream off; }
       location / { proxy_pass http://held; proxy_http_version 1.1; proxy_next_upstream off; }
     }`,
  )
})

afterEach(async () => {
  for (const pid of holders()) kill(pid)
  await Promise.all(apps.map((app) => app.stop()))
  await nginx?.stop()
  rmSync(dir, { recursive: true, force: true })
})

async function begin(): Promise<void> {
  const port = await freePort()
  const site = join(dir, 'site.conf')
  writeFileSync(site, readFileSync(site, 'utf8').replace('127.0.0.1:PORT', `127.0.0.1:${port}`))
  nginx = await startNginx({ dir, port, include: [site] })
}

function startApp(name: string, release: string): Promise<App> {
  const socket = join(dir, `${name}.sock`)
  const marks: string[] = []
  const server: Server = createServer((incoming, answer) => {
    let body = ''
    incoming.on('data', (data) => {
      body += data
    })
    incoming.on('end', () => {
      if (incoming.method === 'POST') marks.push(body)
      answer.setHeader('x-release', release)
      answer.end(`${body}\n`)
    })
  })
  return new Promise((resolve) => {
    server.listen(socket, () => {
      let stopped: Promise<void> | undefined
      const stop = () => {
        stopped ??= new Promise<void>((done) => server.close(() => done()))
        return stopped
      }
      const app = { socket, marks, stop }
      apps.push(app)
      resolve(app)
    })
  })
}

function point(target: string): void {
  symlinkSync(target, join(dir, 'next.sock'))
  renameSync(join(dir, 'next.sock'), join(dir, 'current.sock'))
}

function holders(): number[] {
  return readdirSync(join(dir, 'state'))
    .flatMap((name) => /^hold\.json\.pid\.(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .filter((pid) => isAlive(pid))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 20_000; Date.now() < end; await delay(10)) if (condition()) return
  throw new Error(`waited in vain: ${what}`)
}

/** Holds: new requests wait from when this resolves. The lock is free, and recovery leaves a mark. */
async function hold(options: { lock?: string; deadline?: number; refuse?: number } = {}): Promise<void> {
  const spec = {
    socket: join(dir, 'hold.sock'),
    backlog: 4096,
    deadline: options.deadline ?? 60,
    refuse: options.refuse ?? null,
    lock: options.lock ?? '/proc/none/lock',
    recover: ['/bin/sh', '-c', `echo recovered >>${dir}/recovered`],
  }
  writeFileSync(join(dir, 'state', 'hold.json'), JSON.stringify(spec))
  spawn('/usr/bin/python3', [holdScript, join(dir, 'state', 'hold.json')], { detached: true, stdio: 'ignore' }).unref()
  await until(() => holders().length === 2, 'two holders')
  point(join(dir, 'hold.sock'))
}

async function letGo(app: App): Promise<void> {
  symlinkSync(app.socket, join(dir, 'state', 'hold.json.target'))
  await until(() => holders().length === 0, 'the holders end')
}

/** Connections in its queue or being served; the listener itself has the flag 0x10000. */
function connectionsTo(socket: string): number {
  const lines = readFileSync('/proc/net/unix', 'latin1').split('\n')
  return lines.filter(
    (line) => line.endsWith(` ${socket}`) && !(Number.parseInt(line.split(/\s+/)[3] ?? '', 16) & 0x10000),
  ).length
}

const load = () =>
  startLoad({
    address: '127.0.0.1',
    port: nginx.port,
    host: 'pony.example.org',
    reads: ['/', '/a'],
    write: (mark) => ({ path: '/', body: mark, type: 'text/plain' }),
  })

/** From the old app to the new one through a window in which `during` happens. Milliseconds that it was open. */
async function throughWindow(old: App, during: () => Promise<void>): Promise<{ windowMs: number; fresh: App }> {
  const began = performance.now()
  await hold()
  await until(() => connectionsTo(old.socket) === 0, 'the old app has answered what it had')
  await old.stop()
  await during()
  const fresh = await startApp('new', 'r2')
  point(fresh.socket)
  const windowMs = performance.now() - began
  await letGo(fresh)
  return { windowMs, fresh }
}

describe('requests through a window', () => {
  it('wait, and are answered by the new app: none fails, none is lost, none is done twice', async () => {
    await begin()
    const old = await startApp('old', 'r1')
    point(old.socket)
    const client = load()
    await client.reached(2000)
    const { windowMs, fresh } = await throughWindow(old, () => delay(1200))
    await client.reached(client.report.requests + 2000)
    const report = await client.stop()
    expect(report.failed).toEqual([])
    expect(report.longestMs).toBeLessThan(windowMs + 500)
    expect(Object.keys(report.releases).sort()).toEqual(['r1', 'r2'])
    const done = [...old.marks, ...fresh.marks]
    expect(done.length).toBe(new Set(done).size)
    expect([...done].sort()).toEqual([...report.acknowledged].sort())
  })

  it('do not fail when a holder is killed, and another takes its place', async () => {
    await begin()
    const old = await startApp('old', 'r1')
    point(old.socket)
    const client = load()
    await client.reached(1000)
    await throughWindow(old, async () => {
      for (let round = 0; round < 3; round++) {
        const before = holders()
        kill(before[round % 2] as number)
        await until(() => holders().length === 2 && holders().some((pid) => !before.includes(pid)), 'a new holder')
      }
    })
    await client.reached(client.report.requests + 1000)
    expect((await client.stop()).failed).toEqual([])
  })

  it('that the web server gave up on are not done after all', async () => {
    await begin()
    const old = await startApp('old', 'r1')
    point(old.socket)
    await hold()
    const status = await new Promise<number>((resolve, reject) => {
      const sent = request({ port: nginx.port, method: 'POST', path: '/short/', headers: { host: 'pony.example.org' } })
      sent.on('error', reject).on('response', (answer) => resolve(answer.resume().statusCode ?? 0))
      sent.end('gave-up')
    })
    expect(status).toBe(504)
    point(old.socket)
    await letGo(old)
    expect(old.marks).toEqual([])
  })

  it('are answered by an app that answers before it has read them, as the web server itself would see to', async () => {
    await begin()
    const old = await startApp('old', 'r1')
    point(old.socket)
    await hold()
    const body = 'x'.repeat(4_000_000)
    const post = (path: string) =>
      new Promise<string>((resolve, reject) => {
        const sent = request({ port: nginx.port, method: 'POST', path, headers: { host: 'pony.example.org' } })
        sent.on('error', reject).on('response', (answer) => {
          let length = 0
          answer.on('data', (data: Buffer) => {
            length += data.length
          })
          answer.on('end', () => resolve(`${answer.statusCode} ${length}`))
        })
        sent.end(body)
      })
    const answers = Promise.all([post('/answered-first'), post('/refused')])
    const stubborn = createServer((incoming, answer) => {
      // It reads no further before its answer is taken, or not at all.
      incoming.pause()
      if (incoming.url === '/answered-first') {
        answer.end(Buffer.alloc(body.length))
        return
      }
      answer.writeHead(401, { connection: 'close' })
      answer.end('no')
      answer.on('finish', () => incoming.socket.destroySoon())
    })
    const socket = join(dir, 'stubborn.sock')
    await new Promise<void>((resolve) => stubborn.listen(socket, resolve))
    try {
      await letGo({ socket, marks: [], stop: async () => {} })
      expect(await answers).toEqual([`200 ${body.length}`, '401 2'])
    } finally {
      stubborn.closeAllConnections()
      await new Promise((resolve) => stubborn.close(resolve))
    }
  })

  it('are answered 503 with Retry-After instead, where they are not to wait, and go to the new app after that', async () => {
    await begin()
    const old = await startApp('old', 'r1')
    point(old.socket)
    await hold({ refuse: 30 })
    const post = (body: string) =>
      new Promise<string>((resolve, reject) => {
        const sent = request({ port: nginx.port, method: 'POST', path: '/', headers: { host: 'pony.example.org' } })
        sent.on('error', reject).on('response', (answer) => {
          answer.resume()
          resolve(`${answer.statusCode} ${answer.headers['retry-after'] ?? answer.headers['x-release']}`)
        })
        sent.end(body)
      })
    const answers = await Promise.all(Array.from({ length: 20 }, () => post('x'.repeat(300_000))))
    expect(new Set(answers)).toEqual(new Set(['503 30']))
    point(old.socket)
    await letGo(old)
    expect(await post('after')).toBe('200 r1')
    expect(old.marks).toEqual(['after'])
  })

  it('are seen at the old app, waiting or served, whatever name it bound its socket by', () => {
    const counts = `import os, socket, sys
sys.path.insert(0, sys.argv[1])
from sockets import connections_to
path = sys.argv[2] + '/bound.sock'
listener = socket.socket(socket.AF_UNIX)
listener.bind(path + '.beside')
listener.listen(8)
os.rename(path + '.beside', path)
os.symlink(sys.argv[2], sys.argv[2] + '/linked')
print(connections_to(path))
clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
for client in clients: client.connect(path)
print(connections_to(path))
served = [listener.accept()[0] for _ in range(2)]
print(connections_to(path), connections_to(sys.argv[2] + '/linked/bound.sock'))
for client in clients: client.close()
for each in served + [listener.accept()[0]]: each.close()
print(connections_to(path))`
    const scripts = holdScript.replace(/hold\.py$/, '')
    const printed = execFileSync('/usr/bin/python3', ['-c', counts, scripts, dir], { encoding: 'utf8' })
    expect(printed.trim().split('\n')).toEqual(['0', '3', '3 3', '0'])
  })

  it('are not forgotten when the script that opened the window dies', async () => {
    await begin()
    const old = await startApp('old', 'r1')
    point(old.socket)
    await hold({ lock: join(dir, 'window.lock') })
    await until(() => existsSync(join(dir, 'recovered')), 'its recovery is started')
    await letGo(old)
  })
})
