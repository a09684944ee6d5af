/** Logging in with a security key. The token is software (security-key.c); ssh, its helper, the agent and sshd are the real ones. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { host } from '../../../src/hosts/index.ts'
import { inRun } from './inrun.ts'
import { clientConfig, type Sshd, startSshd } from './sshd.ts'

const crypto = ['x86_64', 'aarch64'].map((arch) => `/usr/lib/${arch}-linux-gnu/libcrypto.so.3`).find(existsSync)
const canCompile = crypto !== undefined && spawnSync('cc', ['--version']).status === 0

describe.skipIf(!canCompile)('a security key', () => {
  const dir = mkdtempSync(join(tmpdir(), 'slipway-sk-'))
  const provider = join(dir, 'provider.so')
  const clientKey = join(dir, 'id_ed25519_sk')
  let sshd: Sshd

  beforeAll(async () => {
    const source = join(import.meta.dirname, 'security-key.c')
    execFileSync('cc', ['-shared', '-fPIC', '-w', '-o', provider, source, crypto as string])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519-sk', '-N', '', '-f', clientKey, '-w', provider])
    sshd = await startSshd()
    // Alone: with the other key one would get in as well.
    writeFileSync(join(sshd.dir, 'authorized_keys'), readFileSync(`${clientKey}.pub`))
  })
  afterAll(async () => {
    await sshd.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  const works = (extra: string, why: string, key = clientKey) => {
    const sshConfigFile = join(dir, 'config')
    writeFileSync(sshConfigFile, clientConfig('test', { ...sshd, clientKey: key }, extra))
    return inRun({ sshConfigFile }, async (told) => {
      const h = host('test')
      expect(await h.$`echo in`.text()).toBe('in')
      writeFileSync(join(dir, 'sent'), 'x')
      rmSync(join(dir, 'there'), { force: true })
      expect((await h.rsync({ source: join(dir, 'sent'), destination: join(dir, 'there') })).changed).toEqual(['sent'])
      expect(told.of('host.connected')).toMatchObject([{ transport: 'openssh', why: expect.stringContaining(why) }])
    })
  }

  it('in a file logs in by the system’s ssh, with its token', () =>
    works(`SecurityKeyProvider ${provider}`, 'id_ed25519_sk'))

  it('in an agent does, too', async () => {
    const socket = join(dir, 'agent')
    const said = execFileSync('ssh-agent', ['-s', '-a', socket, '-P', provider], { encoding: 'utf8' })
    try {
      const env = { ...process.env, SSH_AUTH_SOCK: socket }
      execFileSync('ssh-add', ['-q', '-S', provider, clientKey], { env, stdio: 'ignore' })
      await works(`IdentityAgent ${socket}\nIdentitiesOnly no`, 'agent key sk-ssh-ed25519', '/none')
    } finally {
      process.kill(Number(/SSH_AGENT_PID=(\d+)/.exec(said)?.[1]))
    }
  })
})
