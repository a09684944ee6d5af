/** Hosts that can't be used, as an operator meets them: one sentence, what is true, what to do, and the exit status. */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Built, buildSlipway, repository } from '../../built.ts'
import { clientConfig, freePort, type Sshd, startSshd } from '../hosts/sshd.ts'
import { makeProject, type Project } from './project.ts'

let built: Built
let project: Project
let sshd: Sshd
beforeAll(async () => {
  built = await buildSlipway()
  sshd = await startSshd()
  project = makeProject({ '.env': 'PONY_ADMIN_PASSWORD=quite-secret-password\n' })
  for (const part of ['tasks.ts', 'config', 'examples/pony']) {
    const filter = (path: string) => !path.includes('__pycache__') && !path.endsWith('/var')
    cpSync(join(repository, part), join(project.dir, part), { recursive: true, filter })
  }
}, 120_000)
afterAll(async () => {
  project.remove()
  await sshd.stop()
  built.remove()
})

let files = 0
/** Deploys with a client configuration in which every host is `to`. */
async function deploy(to: Partial<Sshd>, extra = '') {
  const file = join(project.dir, `ssh_config${files++}`)
  writeFileSync(file, clientConfig('*', { ...sshd, ...to }, extra))
  const { status, err } = await project.run(built.tasks, ['-S', file])
  expect(readdirOf(sshd.home)).toEqual([])
  return { status, err }
}
const readdirOf = (dir: string) => execFileSync('ls', ['-A', dir], { encoding: 'utf8' }).split('\n').filter(Boolean)

const key = (name: string) => {
  const path = join(project.dir, name)
  if (!existsSync(path)) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path])
  return path
}

it('a name that does not resolve', async () => {
  const { status, err } = await deploy({}, 'HostName no-such-host.invalid')
  expect(status).toBe(1)
  expect(err).toMatch(
    /error: deploy@pony\.example\.org does not resolve[\s\S]*no-such-host\.invalid\n {2}given up after [^\n]*\n {2}Nothing was run on it\.\n {2}→ /,
  )
})

it('a port at which nothing listens', async () => {
  const port = await freePort()
  const { status, err } = await deploy({ port })
  expect(status).toBe(1)
  expect(err).toMatch(new RegExp(`error: .*nothing listens on 127\\.0\\.0\\.1 port ${port}[\\s\\S]*Nothing was run`))
})

it('one that accepts and then says nothing', async () => {
  const server = createServer(() => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as { port: number }
    const { status, err } = await deploy({ port }, 'ConnectTimeout 1')
    expect(status).toBe(1)
    expect(err).toMatch(/error: [^\n]*accepted the connection, then said nothing[\s\S]*Nothing was run on it\.\n {2}→ /)
  } finally {
    server.close()
  }
})

it('an unknown key: its fingerprint, and how to add it', async () => {
  const knownHosts = join(project.dir, 'known_none')
  writeFileSync(knownHosts, '')
  const { status, err } = await deploy({ knownHosts })
  expect(status).toBe(1)
  expect(err).toMatch(
    /error: the host key of [^\n]* is not known[\s\S]*SHA256:[^\n]*\n {2}given up after [^\n]*\n {2}Nothing was sent to it\.\n {2}→ /,
  )
})

it('a changed key: both fingerprints, where the old one is, and the command that removes it', async () => {
  const knownHosts = join(project.dir, 'known_other')
  writeFileSync(knownHosts, `[127.0.0.1]:${sshd.port} ${readFileSync(`${key('other')}.pub`, 'utf8')}`)
  const { status, err } = await deploy({ knownHosts }, 'StrictHostKeyChecking no')
  expect(status).toBe(1)
  expect(err.match(/SHA256:/g)).toHaveLength(2)
  expect(err).toContain(`${knownHosts}:1`)
  expect(err).toMatch(/→ [\s\S]*ssh-keygen -R/)
})

it('a wrong key: what was tried', async () => {
  const { status, err } = await deploy({ clientKey: key('wrong') })
  expect(status).toBe(1)
  expect(err).toMatch(/error: [^\n]*[\s\S]*wrong[\s\S]*Nothing was run/)
})
