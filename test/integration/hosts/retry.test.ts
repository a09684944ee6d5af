/** From end to end, with the built commands and real servers: `--retry-failed`, and `slipway ssh`. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Built, buildSlipway } from '../../built.ts'
import { makeProject, type Project } from '../cli/project.ts'
import { clientConfig, freePort, type Sshd, startSshd } from './sshd.ts'

const names = ['web1', 'web2', 'web3']
let servers: Sshd[] = []
let built: Built
let project: Project
beforeAll(async () => {
  ;[built, ...servers] = await Promise.all([buildSlipway(), ...names.map(() => startSshd())])
  project = makeProject({
    'tasks.ts': `
import { hosts, string, task } from 'slipway'
export const mark = task({
  about: 'Leaves a mark on every host',
  params: { text: string() },
  run: async ({ text }) => void (await hosts('web1', 'web2', 'web3').each((h) => h.$\`echo \${text} >>~/marks\`)),
})
`,
  })
})
afterAll(async () => {
  project?.remove()
  built?.remove()
  await Promise.all(servers.map((server) => server.stop()))
})

it('runs the same call again, with what it was called with, on the hosts that failed and on no other', async () => {
  const config = join(project.dir, 'ssh_config')
  const configure = (ports: Record<string, number>) =>
    writeFileSync(
      config,
      names
        .map((name, index) => {
          const server = servers[index] as Sshd
          return clientConfig(name, { ...server, port: ports[name] ?? server.port })
        })
        .join(''),
    )
  const marks = () =>
    servers.map(({ home }) => {
      try {
        return readFileSync(join(home, 'marks'), 'utf8')
      } catch {
        return ''
      }
    })
  configure({ web2: await freePort() })
  const first = await project.run(built.tasks, ['-S', config, 'mark', '--text', 'once upon'])
  expect(first.status, first.err).toBe(1)
  expect(first.err).toMatch(/1 of 3 hosts .* failed: web2/)
  expect(first.err).toMatch(/web1 +ok, [\s\S]*web2 +failed: .*refused the connection/)
  expect(marks()).toEqual(['once upon\n', '', 'once upon\n'])
  configure({})
  const again = await project.run(built.tasks, ['-S', config, '--retry-failed'])
  expect(again.status, again.err).toBe(0)
  expect(marks()).toEqual(['once upon\n', 'once upon\n', 'once upon\n'])
}, 60_000)

it('slipway ssh runs a command with its words as they are, its input, its output and its exit status', async () => {
  const config = join(project.dir, 'ssh_config_one')
  writeFileSync(config, clientConfig('web1', servers[0] as Sshd))
  const ssh = (...words: string[]) =>
    project.run(built.slipway, ['ssh', '-S', config, 'web1', '--', ...words], { input: 'echo "typed $((40 + 2))"\n' })
  expect(await ssh('printf', '%s|', "it's", '$HOME', 'a b')).toMatchObject({ status: 0, out: "it's|$HOME|a b|" })
  expect(await ssh('echo said; echo err >&2; exit 7')).toMatchObject({ status: 7, out: 'said\n', err: 'err\n' })
  expect(await ssh('cat')).toMatchObject({ status: 0, out: 'echo "typed $((40 + 2))"\n' })
  // Without words it is a login shell, which ends with its input.
  expect(await ssh()).toMatchObject({ status: 0, out: expect.stringContaining('typed 42') })
}, 60_000)
