import { stat } from 'node:fs/promises'
import { Agent } from 'node:http'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ask, createPony, type Pony } from '../../servers/pony.ts'
import { freePort } from '../../servers/ports.ts'

let pony: Pony
let socketPath: string
beforeEach(async () => {
  pony = await createPony({ environment: { SLIPWAY_RELEASE: 'pony2026r2', SLIPWAY_VERSION: '20261127-101500-ab12cd' } })
  socketPath = join(pony.dir, 'web.sock')
})
afterEach(() => pony.remove())

const json = { 'content-type': 'application/json' }
const register = (key: string, agent?: Agent) =>
  ask({ socketPath }, { method: 'POST', path: '/brevets/200/riders', headers: json, agent, body: rider(key) })
const rider = (key: string) => JSON.stringify({ name: `Rider ${key}`, email: `${key}@example.org`, key })
const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

describe('a pony on a unix socket', () => {
  beforeEach(async () => {
    await pony.command('initialize_db')
  })

  test('shows the brevets, its health, and on every answer the release', async () => {
    await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    const front = await ask({ socketPath })
    expect(front).toMatchObject({ status: 200, body: expect.stringContaining('Fraser Valley') })
    const answers = [front, await ask({ socketPath }, { path: '/up' }), await ask({ socketPath }, { path: '/none' })]
    answers.push(await ask({ socketPath }, { method: 'BREW' }), await ask({ socketPath }, { method: 'HEAD' }))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 404, 501, 200])
    for (const { headers } of answers) expect(headers['x-release']).toBe('pony2026r2/20261127-101500-ab12cd')
  })

  test('registers a rider for good, once for each key', async () => {
    const web = await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    expect((await register('one')).status).toBe(201)
    expect((await register('one')).status).toBe(200)
    await web.stop('SIGKILL')
    await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    const riders = JSON.parse((await ask({ socketPath }, { path: '/riders.json' })).body) as { key: string }[]
    expect(riders.map(({ key }) => key)).toEqual(['one'])
  })

  test('takes a form, and says what is wrong with one', async () => {
    await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    const post = (path: string, body: string, headers: Record<string, string> = form) =>
      ask({ socketPath }, { method: 'POST', path, body, headers: { ...headers, 'content-length': `${body.length}` } })
    const done = await post('/brevets/300/riders', 'name=Ada&email=ada%40example.org')
    expect(done).toMatchObject({ status: 303, headers: { location: '/brevets/300' } })
    expect((await ask({ socketPath }, { path: '/brevets/300' })).body).toContain('Ada')
    expect(await post('/brevets/300/riders', 'name=Ada&email=nowhere')).toMatchObject({ status: 422 })
    expect(await post('/brevets/300/riders', '{"name":', json)).toMatchObject({ status: 400 })
    expect(await post('/brevets/7/riders', rider('x'), json)).toMatchObject({ status: 404 })
    expect(await post('/up', '')).toMatchObject({ status: 405 })
    expect(await post('/brevets/300/riders', 'x'.repeat(70_000))).toMatchObject({ status: 413 })
  })

  test('escapes what riders write', async () => {
    await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    const body = JSON.stringify({ name: '<script>alert(1)</script>', email: 'x@example.org' })
    await ask({ socketPath }, { method: 'POST', path: '/brevets/200/riders', headers: json, body })
    expect((await ask({ socketPath }, { path: '/brevets/200' })).body).not.toContain('<script>')
  })

  test('lets the administrator in by password', async () => {
    await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    const admin = (password: string) => {
      const authorization = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`
      return ask({ socketPath }, { path: '/admin', headers: { authorization } })
    }
    expect((await ask({ socketPath }, { path: '/admin' })).status).toBe(401)
    expect((await admin('wrong')).status).toBe(401)
    expect((await admin('allons-y')).status).toBe(200)
  })

  test('replaces the socket of a server that died, and not that of one that lives', async () => {
    const first = await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    await expect(pony.start('web', { SLIPWAY_SOCKET: socketPath })).rejects.toThrow('listens on')
    await first.stop('SIGKILL')
    expect(await exists(socketPath)).toBe(true)
    const second = await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    expect((await ask({ socketPath }, { path: '/up' })).status).toBe(200)
    expect(await second.stop()).toBe(0)
    expect(await exists(socketPath)).toBe(false)
  })

  test('on TERM answers the request that is coming in, and what waits in its backlog', async () => {
    const web = await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    const body = rider('slow')
    const half = createConnection(socketPath)
    half.write(`POST /brevets/200/riders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`)
    half.write(`Content-Length: ${body.length}\r\n\r\n${body.slice(0, 10)}`)
    await ask({ socketPath }, { path: '/up' })
    // Stopped, it cannot accept: what connects now stays in the backlog until it goes on, with TERM pending.
    web.child.kill('SIGSTOP')
    const waiting = Array.from({ length: 20 }, (_, index) => register(`waiting-${index}`))
    await Promise.all(waiting.map(() => new Promise((resolve) => setImmediate(resolve))))
    web.child.kill('SIGTERM')
    web.child.kill('SIGCONT')
    const answers = await Promise.all(waiting)
    expect(answers.every(({ status, headers }) => status === 201 && headers.connection === 'close')).toBe(true)
    let answer = ''
    half.on('data', (chunk) => {
      answer += chunk.toString()
    })
    half.write(body.slice(10))
    await new Promise((resolve) => half.once('close', resolve))
    expect(answer).toContain('HTTP/1.1 201')
    expect(await web.ended).toBe(0)
  })

  test('on TERM ends connections that are between two requests', async () => {
    const web = await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let count = 0; count < 3; count += 1) {
      expect((await ask({ socketPath }, { path: '/up', agent })).headers.connection).not.toBe('close')
    }
    const before = Date.now()
    expect(await web.stop()).toBe(0)
    expect(Date.now() - before).toBeLessThan(20_000)
    agent.destroy()
  })

  test('answers 32 clients at once, and loses none of what it acknowledged when it is killed', async () => {
    let web = await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    const ledger: string[] = []
    let killed = false
    const client = async (name: number) => {
      for (let count = 0; !killed; count += 1) {
        const key = `k-${name}-${count}`
        const answer = await register(key).catch(() => undefined)
        if (answer?.status === 201) ledger.push(key)
        else if (!killed) throw new Error(`failed while it lived: ${answer?.status} ${answer?.body}`)
        if (ledger.length > 200 && !killed) {
          killed = true
          web.child.kill('SIGKILL')
        }
      }
    }
    await Promise.all(Array.from({ length: 32 }, (_, name) => client(name)))
    web = await pony.start('web', { SLIPWAY_SOCKET: socketPath })
    const riders = JSON.parse((await ask({ socketPath }, { path: '/riders.json' })).body) as { key: string }[]
    const keys = new Set(riders.map(({ key }) => key))
    expect(keys.size).toBe(riders.length)
    expect(ledger.filter((key) => !keys.has(key))).toEqual([])
  })
})

test('a pony on a port answers on loopback', async () => {
  await pony.command('initialize_db')
  const port = await freePort()
  await pony.start('web', { PORT: `${port}` })
  const agent = new Agent({ keepAlive: true })
  expect((await ask({ port }, { path: '/up', agent })).status).toBe(200)
  expect((await ask({ port }, { path: '/', agent })).status).toBe(200)
  agent.destroy()
})

test('a pony without databases lives, says 503, and makes none', async () => {
  await pony.start('web', { SLIPWAY_SOCKET: socketPath })
  expect(await ask({ socketPath }, { path: '/up' })).toMatchObject({ status: 503 })
  expect(await exists(join(pony.dir, 'shared/db/pony.sqlite'))).toBe(false)
  await pony.command('initialize_db')
  expect(await ask({ socketPath }, { path: '/up' })).toMatchObject({ status: 200 })
})
