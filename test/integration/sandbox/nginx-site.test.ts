import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Eta } from 'eta'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startLoad } from '../../../scripts/load.mjs'
import { type Nginx, startNginx } from '../../servers/nginx.ts'
import { ask, createPony, type Pony } from '../../servers/pony.ts'

const host = 'staging.pony.example.org'
const template = new URL('../../../templates/nginx-site.conf.eta', import.meta.url)

let nginx: Nginx & { dir: string }
let pony: Pony
let site: string

async function render(data: Record<string, unknown>): Promise<string> {
  return new Eta({ autoEscape: false }).renderString(await readFile(template, 'utf8'), data)
}

async function point(link: string, target: string): Promise<void> {
  await symlink(target, `${link}.new`)
  await rename(`${link}.new`, link)
}

const through = (path: string, headers: Record<string, string> = {}) =>
  ask({ port: nginx.port }, { path, headers: { host, ...headers } })

beforeAll(async () => {
  nginx = await startNginx()
  pony = await createPony({ dir: join(nginx.dir, 'r') })
  site = join(nginx.dir, 'site')
  await mkdir(site)
  await mkdir(join(nginx.dir, 'sites'))
  await pony.command('initialize_db')
  for (const slot of ['a', 'b']) {
    await pony.start('web', {
      SLIPWAY_SOCKET: join(nginx.dir, `${slot}.sock`),
      SLIPWAY_RELEASE: 'pony2026r1',
      SLIPWAY_VERSION: slot,
    })
  }
  const data = { app: 'pony', deployment: 'staging', domains: [host], listen: [`127.0.0.1:${nginx.port}`] }
  await writeFile(join(nginx.dir, 'sites/pony.conf'), await render({ ...data, siteDir: site, gateToken: 'a1b2c3' }))
  await nginx.reload()
})
afterAll(async () => {
  await pony?.remove()
  await nginx?.stop()
})
beforeEach(() => point(join(site, 'current.sock'), join(nginx.dir, 'a.sock')))

describe('a site whose app is a symlinked socket', () => {
  test('reaches the app that the symlink points at, with no reload', async () => {
    expect((await through('/up')).headers['x-release']).toBe('pony2026r1/a')
    await point(join(site, 'current.sock'), join(nginx.dir, 'b.sock'))
    expect((await through('/up')).headers['x-release']).toBe('pony2026r1/b')
  })

  test('flipped 20 times under load, it fails no request, loses no write, and never answers from the old side', async () => {
    const load = startLoad({ port: nginx.port, host })
    for (let flip = 1; flip <= 20; flip += 1) {
      const goal = load.report.requests + 150
      await expect.poll(() => load.report.requests, { interval: 5, timeout: 20_000 }).toBeGreaterThan(goal)
      const side = flip % 2 === 0 ? 'a' : 'b'
      await point(join(site, 'current.sock'), join(nginx.dir, `${side}.sock`))
      expect((await through('/up')).headers['x-release']).toBe(`pony2026r1/${side}`)
    }
    const report = await load.stop()
    expect(report.failures).toEqual([])
    expect(report.ok).toBe(report.requests)
    expect(report.ok).toBeGreaterThan(3000)
    expect(Object.keys(report.releases).sort()).toEqual(['pony2026r1/a', 'pony2026r1/b'])
    const riders = JSON.parse((await through('/riders.json')).body) as { key: string }[]
    const keys = new Set(riders.map(({ key }) => key))
    expect(report.ledger.length).toBeGreaterThan(300)
    expect(report.ledger.filter((key) => !keys.has(key))).toEqual([])
    expect(keys.size).toBe(riders.length)
  }, 60_000)

  test('sends the holder of the gate token elsewhere, and does not pass the token on', async () => {
    await point(join(site, 'gate.sock'), join(nginx.dir, 'b.sock'))
    expect((await through('/up', { 'x-slipway-gate': 'a1b2c3' })).headers['x-release']).toBe('pony2026r1/b')
    expect((await through('/up', { 'x-slipway-gate': 'wrong' })).headers['x-release']).toBe('pony2026r1/a')
    expect((await through('/up')).headers['x-release']).toBe('pony2026r1/a')
  })

  test('in maintenance it answers 503 with the page and Retry-After, to writes as well, and lets the gate through', async () => {
    await point(join(site, 'gate.sock'), join(nginx.dir, 'b.sock'))
    await writeFile(join(site, 'maintenance.html'), '<h1>Back soon</h1>')
    await writeFile(join(site, 'maintenance.on'), '')
    const closed = { status: 503, body: '<h1>Back soon</h1>', headers: { 'retry-after': '30' } }
    expect(await through('/')).toMatchObject(closed)
    const post = { method: 'POST', path: '/brevets/200/riders', headers: { host }, body: '{}' }
    expect(await ask({ port: nginx.port }, post)).toMatchObject(closed)
    expect((await through('/up', { 'x-slipway-gate': 'a1b2c3' })).status).toBe(200)
    await rm(join(site, 'maintenance.html'))
    expect(await through('/')).toMatchObject({ status: 503, headers: { 'retry-after': '30' } })
    await rm(join(site, 'maintenance.on'))
    expect((await through('/')).status).toBe(200)
  })

  test('names it does not know are told so', async () => {
    expect(await ask({ port: nginx.port }, { headers: { host: 'else.example.org' } })).toMatchObject({
      status: 404,
      body: expect.stringContaining('else.example.org'),
    })
  })
})

describe('reloading', () => {
  test('refuses a broken site, and the old sites go on', async () => {
    await writeFile(join(nginx.dir, 'sites/broken.conf'), 'server { nonsense; }')
    await expect(nginx.reload()).rejects.toMatchObject({
      code: 'nginx-config',
      detail: expect.stringContaining('nonsense'),
    })
    await rm(join(nginx.dir, 'sites/broken.conf'))
    expect((await through('/up')).status).toBe(200)
  })

  test('refuses a second site with the same name', async () => {
    const text = await render({
      app: 'pony',
      deployment: 'other',
      domains: [host],
      listen: [`127.0.0.1:${nginx.port}`],
      siteDir: site,
    })
    await writeFile(join(nginx.dir, 'sites/second.conf'), text)
    await expect(nginx.reload()).rejects.toMatchObject({ code: 'nginx-conflict' })
    await rm(join(nginx.dir, 'sites/second.conf'))
  })
})

test('a site for an app on a port, with certificates and more lines', async () => {
  const text = await render({
    app: 'pony-two',
    deployment: 'production',
    domains: ['pony.example.org', 'www.pony.example.org'],
    listen: ['443 ssl', '[::]:443 ssl'],
    siteDir: '/home/d e/.slipway/pony-two/sites/production',
    upstream: '127.0.0.1:9001',
    certificate: '/etc/ssl/pony.pem',
    certificateKey: '/etc/ssl/pony.key',
    locations: '  location /static/ { alias /srv/static/; }',
    readTimeout: 90,
  })
  expect(text).toContain('upstream slipway_pony_two_production_current {\n  server 127.0.0.1:9001;')
  expect(text).toContain('listen 443 ssl;')
  expect(text).toContain('server_name pony.example.org www.pony.example.org;')
  expect(text).toContain('ssl_certificate_key "/etc/ssl/pony.key";')
  expect(text).toContain('location /static/')
  expect(text).toContain('proxy_read_timeout 90s;')
  expect(text).toContain('"/home/d e/.slipway/pony-two/sites/production/maintenance.on"')
  expect(text).not.toContain('gate.sock')
})
