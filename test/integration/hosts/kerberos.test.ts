/** Logging in with a Kerberos ticket, of a KDC of our own on loopback. Skipped where Debian's krb5-kdc and krb5-user are not installed. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { host } from '../../../src/hosts/index.ts'
import { failure, inRun, until } from './inrun.ts'
import { freePort, type Sshd, startSshd } from './sshd.ts'

const kdcProgram = '/usr/sbin/krb5kdc'
const realm = 'SLIPWAY.TEST'
const { username } = userInfo()

describe.skipIf(![kdcProgram, '/usr/sbin/kadmin.local', '/usr/bin/kinit'].every(existsSync))(
  'a Kerberos ticket',
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'slipway-kerberos-'))
    const before = { ...process.env }
    const own = {
      KRB5_CONFIG: join(dir, 'krb5.conf'),
      KRB5_KDC_PROFILE: join(dir, 'kdc.conf'),
      KRB5_KTNAME: join(dir, 'keytab'),
      KRB5CCNAME: `FILE:${join(dir, 'ticket')}`,
    }
    let kdc: ChildProcess
    let sshd: Sshd

    beforeAll(async () => {
      const port = await freePort()
      writeFileSync(
        own.KRB5_CONFIG,
        `[libdefaults]
default_realm = ${realm}
dns_lookup_kdc = false
dns_canonicalize_hostname = false
rdns = false
[realms]
${realm} = {
  kdc = 127.0.0.1:${port}
}
`,
      )
      writeFileSync(
        own.KRB5_KDC_PROFILE,
        `[kdcdefaults]
kdc_listen = 127.0.0.1:${port}
kdc_tcp_listen = 127.0.0.1:${port}
[realms]
${realm} = {
  database_name = ${join(dir, 'principals')}
  key_stash_file = ${join(dir, 'stash')}
  acl_file = ${join(dir, 'acl')}
}
[logging]
kdc = FILE:${join(dir, 'kdc.log')}
`,
      )
      Object.assign(process.env, own)
      const admin = (query: string) => execFileSync('kadmin.local', ['-r', realm, '-q', query], { stdio: 'ignore' })
      execFileSync('/usr/sbin/kdb5_util', ['create', '-s', '-r', realm, '-P', 'master'], { stdio: 'ignore' })
      admin(`addprinc -pw open ${username}`)
      admin('addprinc -randkey host/localhost')
      admin(`ktadd -k ${own.KRB5_KTNAME} host/localhost`)
      kdc = spawn(kdcProgram, ['-n', '-r', realm, '-P', join(dir, 'pid')], { stdio: 'ignore' })
      await until(() => existsSync(join(dir, 'pid')), 20_000)
      sshd = await startSshd({
        config: 'GSSAPIAuthentication yes\nGSSAPIStrictAcceptorCheck no\nPubkeyAuthentication no',
        // The ticket is for a name, not for an address.
        client: 'HostName localhost\nAddressFamily inet\nHostKeyAlias sshd.slipway.test\nGSSAPIAuthentication yes',
      })
      writeFileSync(sshd.knownHosts, readFileSync(sshd.knownHosts, 'utf8').replace(/^\S+/, 'sshd.slipway.test'))
    })
    afterAll(async () => {
      kdc?.kill()
      await sshd?.stop()
      for (const name of Object.keys(own)) {
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
      rmSync(dir, { recursive: true, force: true })
    })

    it('logs in by the system’s ssh where GSSAPI is configured, for commands and for trees; without one nothing does', async () => {
      const options = { sshConfigFile: sshd.sshConfigFile }
      expect(await failure(inRun(options, async () => host('test').$`true`))).toMatchObject({ code: 'auth-failed' })
      execFileSync('kinit', [username], { input: 'open\n', stdio: ['pipe', 'ignore', 'pipe'] })
      await inRun(options, async (told) => {
        const h = host('test')
        expect(await h.$`echo in`.text()).toBe('in')
        const source = join(dir, 'tree')
        mkdirSync(source)
        writeFileSync(join(source, 'f'), 'x')
        expect((await h.rsync({ source: `${source}/`, destination: join(dir, 'copied') })).changed).toEqual(['f'])
        expect(told.of('host.connected')).toMatchObject([{ transport: 'openssh', why: 'there is a Kerberos ticket' }])
      })
    })
  },
)
