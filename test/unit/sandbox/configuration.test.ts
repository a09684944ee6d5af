import { describe, expect, test } from 'vitest'
import { nginxConfig } from '../../../src/sandbox/nginx.ts'
import { serverNames } from '../../../src/sandbox/sites.ts'
import { clientConfig, serverConfig } from '../../../src/sandbox/sshd.ts'

describe('the configuration of sshd', () => {
  const server = { address: '127.0.0.1', port: 2222, etc: '/s/etc' }

  test('sets all variables on one line, quoted, since only the first line counts', () => {
    const text = serverConfig({ ...server, environment: { HOME: '/s/my home', PATH: '/s/bin:/bin' } })
    expect(text.match(/^SetEnv .*$/gm)).toEqual(['SetEnv "HOME=/s/my home" "PATH=/s/bin:/bin"'])
  })

  test('puts extra lines first, so that they win', () => {
    const text = serverConfig({ ...server, environment: {}, extra: 'PasswordAuthentication yes' })
    expect(text.indexOf('PasswordAuthentication yes')).toBe(0)
    expect(text).toContain('ListenAddress 127.0.0.1:2222')
  })

  test('asks PAM for a locked account only', () => {
    expect(serverConfig({ ...server, environment: {} })).toContain('UsePAM no')
    expect(serverConfig({ ...server, environment: {}, locked: true })).toContain('UsePAM yes')
  })
})

describe('the configuration of ssh', () => {
  const client = { address: '127.0.0.1', port: 2222, user: 'ada', clientKeyFile: '/s/key', knownHostsFile: '/s/known' }

  test('takes every destination to the server, and reads none of the files of the user', () => {
    const text = clientConfig(client)
    for (const line of [
      'Host *',
      'HostName 127.0.0.1',
      'Port 2222',
      'IdentityAgent none',
      'IdentitiesOnly yes',
      'UserKnownHostsFile /s/known',
      'GlobalKnownHostsFile none',
    ]) {
      expect(text).toContain(line)
    }
    expect(text).not.toContain('~')
  })

  test('says in its first line when a user and a port do not count', () => {
    expect(clientConfig({ ...client, first: '# any' }).split('\n')[0]).toBe('# any')
  })
})

describe('the configuration of nginx', () => {
  const text = nginxConfig({
    dir: '/s',
    address: '127.0.0.1',
    port: 8080,
    include: ['/s/home/*.conf', '/s/other.conf'],
  })

  test('keeps everything that nginx writes in one folder', () => {
    const paths = [...text.matchAll(/(?:_path|pid|_log) (\/\S+?)[; ]/g)].map((found) => found[1])
    expect(paths).toHaveLength(8)
    expect(paths.every((path) => path?.startsWith('/s/nginx/'))).toBe(true)
  })

  test('includes the sites, and listens on loopback only', () => {
    expect(text).toContain('include /s/home/*.conf;')
    expect(text).toContain('include /s/other.conf;')
    expect([...text.matchAll(/listen (\S+?)[; ]/g)].map((found) => found[1])).toEqual([
      '127.0.0.1:8080',
      '127.0.0.1:8080',
    ])
  })
})

test('the names of a site are read from its configuration', () => {
  expect(serverNames('server {\n  server_name a.example.org  b.example.org;\n}\nserver { }\n')).toEqual([
    'a.example.org',
    'b.example.org',
  ])
  expect(serverNames('# server_name commented.example.org;\n')).toEqual([])
})
