import { describe, expect, it } from 'vitest'
import { readSite } from '../../../src/targets/vps/promotion/index.ts'
import { render } from '../../../src/targets/vps/templates.ts'

const rendered = (more: Record<string, unknown> = {}) =>
  render('/nowhere', 'nginx-site.conf', {
    app: 'pony',
    deployment: 'production',
    domains: ['pony.example.org'],
    listen: ['127.0.0.1:8080'],
    siteDir: '/home/deploy/.slipway/pony/sites/production',
    ...more,
  })

describe('what is read from a site', () => {
  it('is where its front door is, how long it waits, and its gate', async () => {
    expect(readSite(await rendered({ gateToken: 'secret', readTimeout: 90 }))).toEqual({
      address: '127.0.0.1',
      port: 8080,
      tls: false,
      gateToken: 'secret',
      timeoutSeconds: 90,
      certificates: [],
    })
  })

  it('tells reads from writes where it was written so', async () => {
    expect(readSite(await rendered({ reads: true }))?.reads).toBe(true)
    expect(readSite(await rendered())?.reads).toBeUndefined()
  })

  it('has no gate where none was written', async () => {
    expect(readSite(await rendered())?.gateToken).toBeUndefined()
  })

  it('is the encrypted front door where there are both', async () => {
    const text = await rendered({
      listen: ['80', '443 ssl'],
      certificate: '/etc/ssl/pony.pem',
      certificateKey: '/etc/ssl/pony.key',
    })
    expect(readSite(text)).toMatchObject({
      address: '127.0.0.1',
      port: 443,
      tls: true,
      certificates: ['/etc/ssl/pony.pem'],
    })
  })

  it.each([
    ['listen [::]:80;', '::1', 80],
    ['listen *:81 default_server;', '127.0.0.1', 81],
    ['listen 10.0.0.1:82;', '10.0.0.1', 82],
    ['listen unix:/run/x.sock;\nlisten 83;', '127.0.0.1', 83],
  ])('understands %s', (text, address, port) => {
    expect(readSite(text)).toMatchObject({ address, port, timeoutSeconds: 60 })
  })

  it('is nothing where nothing listens', () => {
    expect(readSite('# listen 80;\n')).toBeUndefined()
  })

  it('takes the shorter of its timeouts, in any unit', () => {
    expect(readSite('listen 80;\nproxy_read_timeout 2m;\nproxy_send_timeout 45;')?.timeoutSeconds).toBe(45)
  })
})
