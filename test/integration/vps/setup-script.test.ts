/** What setup_host prints, run: with stand-ins for what would change this machine, and with the real nginx and visudo. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { VpsContext } from '../../../src/targets/vps/context.ts'
import { appLayout } from '../../../src/targets/vps/layout.ts'
import { readSite } from '../../../src/targets/vps/promotion/site.ts'
import { setupScript } from '../../../src/targets/vps/setup-script.ts'
import { render } from '../../../src/targets/vps/templates.ts'
import { type Nginx, startNginx } from '../../servers/nginx.ts'
import { freePort } from '../../servers/ports.ts'
import { ask } from './host.ts'

const domain = 'staging.pony.example.org'
let root: string
let nginx: Nginx & { dir: string }
let tlsPort: number
let siteDir: string

const context = {
  config: { domains: { provider: 'nginx', options: { email: "o'hara@example.org" } } },
  deployment: {
    name: 'staging',
    hosts: ['deploy@pony.example.org'],
    domain,
    services: 'supervisor',
    app: { databases: { main: { kind: 'postgres' } } },
  },
} as unknown as VpsContext

const script = () =>
  setupScript(context, { home: join(root, 'home'), user: 'deploy', app: appLayout(join(root, 'home'), 'pony') })

/** The same script with this test's folders in place of the machine's own, and this test's ports. */
const here = () =>
  script()
    .replaceAll('/etc/', `${root}/etc/`)
    .replace('listen 443 ssl', `listen 127.0.0.1:${tlsPort} ssl`)
    .replace("ipv6='listen [::]:443 ssl;'", 'ipv6=')

const standIn = (name: string, text: string) => {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(root, 'bin', name), 0o755)
}

const runHere = (environment: Record<string, string> = {}) =>
  spawnSync('/bin/sh', ['-s'], {
    input: here(),
    encoding: 'utf8',
    env: { PATH: `${root}/bin:/usr/sbin:/usr/bin:/sbin:/bin`, ...environment },
  })

beforeAll(async () => {
  root = mkdtempSync('/tmp/slipway-setup-')
  for (const dir of ['bin', 'home', 'etc/nginx/conf.d']) mkdirSync(join(root, dir), { recursive: true })
  nginx = await startNginx({ include: [`${root}/etc/nginx/conf.d/*.conf`] })
  tlsPort = await freePort('127.0.0.1')
  siteDir = appLayout(join(root, 'home'), 'pony').site('staging')
  for (const name of ['apt-get', 'systemctl', 'loginctl', 'setfacl'])
    standIn(name, `echo ${name} "$@" >>${root}/called`)
  standIn('nginx', `exec ${nginx.command.join(' ')} "$@"`)
  standIn(
    'certbot',
    `echo certbot "$@" >>${root}/called
d=${root}/etc/letsencrypt/live/${domain}; mkdir -p "$d"
exec openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=${domain} -keyout "$d/privkey.pem" -out "$d/fullchain.pem" 2>/dev/null`,
  )
})
afterAll(async () => {
  await nginx?.stop()
  rmSync(root, { recursive: true, force: true })
})

test('it is a script of sh, and a dry form of it changes nothing', () => {
  execFileSync('/bin/sh', ['-n'], { input: script() })
  const { status, stdout, stderr } = runHere({ DRY_RUN: '1' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(stdout).toContain('would run: apt-get install -y rsync python3 supervisor nginx certbot postgresql-client')
  expect(stdout).toContain(`would write ${root}/etc/nginx/conf.d/slipway.conf:`)
  expect(() => readFileSync(join(root, 'called'))).toThrow()
  expect(() => readFileSync(join(root, 'etc/nginx/conf.d/slipway.conf'))).toThrow()
})

test('it lets the account test nginx, reload it and have it open its logs anew, and nothing else', () => {
  expect(runHere()).toMatchObject({ status: 0 })
  const rule = readFileSync(join(root, 'etc/sudoers.d/slipway'), 'utf8')
  expect(rule).toBe(
    'deploy ALL=(root) NOPASSWD: /usr/sbin/nginx -t, /usr/sbin/nginx -s reload, /usr/sbin/nginx -s reopen\n',
  )
  execFileSync('/usr/sbin/visudo', ['-c', '-f', join(root, 'etc/sudoers.d/slipway')], { stdio: 'pipe' })
})

test('it waits for the site, then has a certificate issued, which the site takes up without being edited', async () => {
  expect(runHere().stdout).toContain(`There is no site of ${domain} yet`)
  mkdirSync(join(siteDir, 'acme/.well-known/acme-challenge'), { recursive: true })
  writeFileSync(join(siteDir, 'acme/.well-known/acme-challenge/token'), 'proof')
  const site = await render(root, 'nginx-site.conf', {
    app: 'pony',
    deployment: 'staging',
    domains: [domain],
    listen: [`127.0.0.1:${nginx.port}`],
    siteDir,
    tls: `${root}/etc/nginx/slipway`,
    healthPath: '/up',
  })
  expect(readSite(site)).toMatchObject({ port: nginx.port, tls: false })
  writeFileSync(join(siteDir, 'nginx.conf'), site)
  await nginx.reload()
  // Before there is a certificate, the site is there without one, and answers what proves the domain.
  expect(await ask(nginx.port, '/.well-known/acme-challenge/token', domain)).toMatchObject({
    status: 200,
    body: 'proof',
  })

  const issued = runHere()
  expect(issued.stderr).toMatch(/syntax is ok/)
  expect(issued.status).toBe(0)
  const called = readFileSync(join(root, 'called'), 'utf8')
  expect(called).toContain(`certbot certonly --webroot -w ${siteDir}/acme -d ${domain} --cert-name ${domain}`)
  expect(called).toContain("-m o'hara@example.org --keep-until-expiring --deploy-hook nginx -t && nginx -s reload")
  expect(readFileSync(join(siteDir, 'nginx.conf'), 'utf8')).toBe(site)
  // The reload is a signal: the new listener is there a moment later.
  await expect.poll(() => encrypted('/.well-known/acme-challenge/token').catch(() => undefined)).toBe('proof')
  // Visitors are sent to https; the issuer's questions and the host's own are answered as they come.
  await expect
    .poll(() => ask(nginx.port, '/riders?year=2026', domain).catch(() => undefined))
    .toMatchObject({ status: 301, headers: { location: `https://${domain}/riders?year=2026` } })
  expect((await ask(nginx.port, '/.well-known/acme-challenge/token', domain)).status).toBe(200)
  expect((await ask(nginx.port, '/up', domain)).status).toBe(502)
  expect((await ask(nginx.port, '/upper', domain)).status).toBe(301)
  expect(runHere().status).toBe(0)
})

function encrypted(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: tlsPort, path, servername: domain, rejectUnauthorized: false }
    const asked = httpsRequest({ ...options, headers: { host: domain } }, (answer) => {
      let body = ''
      answer.on('data', (chunk) => {
        body += chunk
      })
      answer.on('end', () => resolve(body))
    })
    asked.on('error', reject)
    asked.end()
  })
}
