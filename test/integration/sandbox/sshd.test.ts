import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { identify } from '../../../src/sandbox/process.ts'
import { type Sshd, startSshd } from '../../servers/sshd.ts'

const run = promisify(execFile)

describe('an sshd with a home of its own', () => {
  let sshd: Sshd
  const ssh = async (...args: string[]) => (await run('ssh', ['-F', sshd.sshConfigFile, ...args])).stdout.trim()

  beforeAll(async () => {
    sshd = await startSshd()
  })
  afterAll(() => sshd.stop())

  test('answers for any destination, and commands start in its home', async () => {
    expect(await ssh('pony.example.org', 'pwd; echo "$HOME"')).toBe(`${sshd.home}\n${sshd.home}`)
    expect(await ssh('other.example.org', 'echo ~')).toBe(sshd.home)
  })

  test('passes exit statuses on', async () => {
    await expect(ssh('pony', 'exit 7')).rejects.toMatchObject({ code: 7 })
    await expect(ssh('pony', 'true; false')).rejects.toMatchObject({ code: 1 })
  })

  test('copies with rsync and sftp into its home', async () => {
    const dir = await mkdtemp('/tmp/slipway-copy-')
    await writeFile(join(dir, 'letter'), 'dear host\n')
    await run('rsync', ['-a', '-e', `ssh -F ${sshd.sshConfigFile}`, `${dir}/letter`, 'pony:by-rsync'])
    const batch = join(dir, 'batch')
    await writeFile(batch, `put ${dir}/letter by-sftp\n`)
    await run('sftp', ['-F', sshd.sshConfigFile, '-b', batch, 'pony'])
    expect(await readFile(join(sshd.home, 'by-rsync'), 'utf8')).toBe('dear host\n')
    expect(await readFile(join(sshd.home, 'by-sftp'), 'utf8')).toBe('dear host\n')
    await rm(dir, { recursive: true })
  })

  test('keeps a crontab of its own', async () => {
    await ssh('pony', 'echo "0 4 * * * true" | crontab -')
    expect(await ssh('pony', 'crontab -l')).toBe('0 4 * * * true')
    expect(await readFile(join(sshd.dir, 'crontab'), 'utf8')).toBe('0 4 * * * true\n')
    await ssh('pony', 'crontab -r')
    await expect(ssh('pony', 'crontab -l')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no crontab'),
    })
  })

  test('can neither restart the machine nor its services', async () => {
    await expect(ssh('pony', 'reboot')).rejects.toMatchObject({ code: 1 })
    await expect(ssh('pony', 'systemctl stop ssh')).rejects.toMatchObject({ code: 1 })
  })

  test('has its stand-ins in login shells too', async () => {
    const found = await ssh('pony', 'bash -lc "command -v crontab"; sh -lc "command -v reboot"')
    expect(found).toBe(`${join(sshd.dir, 'bin/crontab')}\n${join(sshd.dir, 'bin/reboot')}`)
  })

  test('can reach itself by ssh', async () => {
    expect(await ssh('pony', 'ssh elsewhere echo there')).toBe('there')
  })

  test('refuses keys that it does not know', async () => {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(sshd.dir, 'stranger')])
    const config = (await readFile(sshd.sshConfigFile, 'utf8')).replace(sshd.clientKeyFile, join(sshd.dir, 'stranger'))
    await writeFile(join(sshd.dir, 'stranger_config'), config)
    const attempt = run('ssh', ['-F', join(sshd.dir, 'stranger_config'), 'pony', 'true'])
    await expect(attempt).rejects.toMatchObject({ code: 255, stderr: expect.stringContaining('Permission denied') })
  })
})

test('stopping an sshd ends the daemons started through it, and removes its folder', async () => {
  const sshd = await startSshd()
  const command = 'setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!'
  const { stdout } = await run('ssh', ['-F', sshd.sshConfigFile, 'pony', command])
  const pid = Number(stdout)
  expect(await identify(pid)).toBeDefined()
  await sshd.stop()
  expect(await identify(pid)).toBeUndefined()
  expect(await identify(sshd.process.pid)).toBeUndefined()
  await expect(stat(sshd.dir)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('lines of extra configuration win', async () => {
  const sshd = await startSshd({ extraConfig: 'Banner none\nMaxSessions 1', address: '127.0.1.7' })
  const { stdout } = await run('ssh', ['-F', sshd.sshConfigFile, '-G', 'anything'])
  expect(stdout).toContain('hostname 127.0.1.7')
  await sshd.stop()
})

test('an sshd that cannot start says why', async () => {
  await expect(startSshd({ extraConfig: 'NoSuchOption yes' })).rejects.toMatchObject({
    code: 'sshd-failed',
    detail: expect.stringContaining('NoSuchOption'),
  })
})
