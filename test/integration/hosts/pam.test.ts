/**
 * Passwords against OpenSSH's own server and PAM. It takes an account of this machine: one is made for the test and
 * removed after it, so it needs root.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPrompter, type Prompter } from '../../../src/events/index.ts'
import { host } from '../../../src/hosts/index.ts'
import { failure, inRun } from './inrun.ts'
import { clientConfig, type Sshd, startSshd } from './sshd.ts'

const able =
  process.getuid?.() === 0 &&
  existsSync('/etc/pam.d/sshd') &&
  ['useradd', 'userdel', 'chpasswd'].every((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0)

const user = `slw${randomBytes(4).toString('hex')}`
const password = `pä"'\\$x ${randomBytes(6).toString('hex')}`
const dir = mkdtempSync(join(tmpdir(), 'slipway-pam-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function typing(answers: string[]): Prompter & { asked: string[] } {
  const asked: string[] = []
  const password = async (message: string) => {
    asked.push(message)
    return answers.shift() ?? ''
  }
  return { ...noPrompter, interactive: true, asked, password }
}

// Skipped where the tests do not run as root, or PAM is not there: an account cannot be made.
describe.skipIf(!able)('an OpenSSH server with PAM', () => {
  const servers: Sshd[] = []
  beforeAll(() => {
    execFileSync('useradd', ['--no-create-home', '--home-dir', dir, '--shell', '/bin/sh', user])
    execFileSync('chpasswd', { input: `${user}:${password}\n` })
  })
  afterAll(async () => {
    for (const server of servers) await server.stop()
    spawnSync('userdel', [user])
  })

  async function logIn(config: string, prompter: Prompter) {
    const sshd = await startSshd({ config: `UsePAM yes\n${config}`, forceCommand: false })
    servers.push(sshd)
    const sshConfigFile = join(sshd.dir, 'pam_config')
    writeFileSync(sshConfigFile, clientConfig('test', { ...sshd, clientKey: '/none' }, `User ${user}`))
    return inRun(
      { sshConfigFile },
      async ({ events }) => {
        const names = [await host('test').$`id -un`.text(), await host('test').$`id -un`.text()]
        expect(JSON.stringify(events)).not.toContain(JSON.stringify(password).slice(1, -1))
        return names
      },
      { prompter },
    )
  }

  it('takes a password, asked once for two commands', async () => {
    const prompter = typing([password])
    const names = await logIn('PasswordAuthentication yes\nKbdInteractiveAuthentication no', prompter)
    expect(names).toEqual([user, user])
    expect(prompter.asked).toEqual([`Password of ${user} on test`])
  }, 30_000)

  it('asks for it itself, by keyboard-interactive', async () => {
    const prompter = typing([password])
    const names = await logIn('PasswordAuthentication no\nKbdInteractiveAuthentication yes', prompter)
    expect(names).toEqual([user, user])
    expect(prompter.asked).toHaveLength(1)
    expect(prompter.asked[0]).toMatch(/^test: .*password/i)
  }, 30_000)

  it('is asked for again after a wrong one, and is of no use where the server takes none', async () => {
    const prompter = typing(['wrong one', password])
    const names = await logIn('PasswordAuthentication yes\nKbdInteractiveAuthentication no', prompter)
    expect(names).toEqual([user, user])
    expect(prompter.asked).toHaveLength(2)
    const refused = await failure(
      logIn('PasswordAuthentication no\nKbdInteractiveAuthentication no', typing([password])),
    )
    expect(refused).toMatchObject({ code: 'auth-failed' })
    expect(JSON.stringify(refused)).not.toContain(password.slice(-12))
  }, 30_000)
})
