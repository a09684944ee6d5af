/** From end to end, with the built commands and real servers: what many said told once, `--retry-failed`, and `slipway ssh`. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Built, buildSlipway } from '../../built.ts'
import { makeProject, type Project } from '../cli/project.ts'
import { until } from './inrun.ts'
import { clientConfig, freePort, type Sshd, startSshd } from './sshd.ts'

const names = ['web1', 'web2', 'web3']
let servers: Sshd[] = []
let built: Built
let project: Project
beforeAll(async () => {
  ;[built, ...servers] = await Promise.all([buildSlipway(), ...names.map(() => startSshd())])
  project = makeProject({
    'tasks.ts': `
import { hosts, result, string, tailHosts, task } from 'slipway'
export const mark = task({
  about: 'Leaves a mark on every host',
  params: { text: string() },
  run: async ({ text }) => void (await hosts('web1', 'web2', 'web3').each((h) => h.$\`echo \${text} >>~/marks\`)),
})
export const look = task({
  about: 'Looks at every host',
  run: async () => void (await hosts('web1', 'web2', 'web3').each((h) => h.$\`cat ~/motd; pwd >/dev/null\`)),
})
export const follow = task({
  about: 'Follows a log on every host',
  run: async () => {
    for await (const line of tailHosts(hosts('web1', 'web2'), '~/app.log', { lines: 1, grep: '^seen' })) {
      result(\`\${line.host} | \${line.text}\`)
    }
  },
})
`,
  })
})
afterAll(async () => {
  project?.remove()
  built?.remove()
  await Promise.all(servers.map((server) => server.stop()))
})

/** A client's configuration of all of them. */
function configure(ports: Record<string, number> = {}): string {
  const config = join(project.dir, 'ssh_config')
  const at = (index: number) => servers[index] as Sshd
  const hosts = names.map((name, index) => clientConfig(name, { ...at(index), port: ports[name] ?? at(index).port }))
  writeFileSync(config, hosts.join(''))
  return config
}

it('tells once what several hosts say, and how it ended on each: for a command, and for a task', async () => {
  const config = configure()
  servers.forEach(({ home }, index) => {
    writeFileSync(join(home, 'motd'), index === 1 ? 'staging\n' : 'production\nbe careful\n')
  })
  const command = await project.run(built.tasks, ['-S', config, '-H', names.join(), '--', 'cat ~/motd; echo to >&2'])
  expect(command).toMatchObject({
    status: 0,
    out: '[web[1,3]] production\n[web[1,3]] be careful\n[web2] staging\n',
    err: expect.stringMatching(/^\[web\[1-3\]\] to\nweb\[1-3\] {2}ok, up to [\d.]+ m?s\ndone, .*\n$/),
  })
  const task = await project.run(built.tasks, ['-S', config, 'look'])
  expect(task.status, task.err).toBe(0)
  expect(task.err).toMatch(
    /^==> look\n\[web\[1-3\]\] \$ cat .*\n\[web\[1,3\]\] production\n\[web\[1,3\]\] be careful\n\[web2\] staging\nweb\[1-3\] {2}ok, up to /,
  )
  // In JSON each host has its own lines, and in the report its own part.
  const json = await project.run(built.tasks, ['-S', config, '-H', names.join(), '--json', '--', 'cat ~/motd'])
  const lines = json.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; host?: string })
  expect(lines.flatMap(({ type, host }) => (type === 'log.line' ? [host] : [])).sort()).toEqual([
    'web1',
    'web1',
    'web2',
    'web3',
    'web3',
  ])
}, 60_000)

it('runs the same call again, with what it was called with, on the hosts that failed and on no other', async () => {
  const marks = () =>
    servers.map(({ home }) => {
      try {
        return readFileSync(join(home, 'marks'), 'utf8')
      } catch {
        return ''
      }
    })
  const config = configure({ web2: await freePort() })
  const first = await project.run(built.tasks, ['-S', config, 'mark', '--text', 'once upon'])
  expect(first.status, first.err).toBe(1)
  expect(first.err).toMatch(/1 of 3 hosts .* failed: web2/)
  expect(first.err).toMatch(/web\[1,3\] +ok, [\s\S]*web2 +failed: .*refused the connection/)
  expect(marks()).toEqual(['once upon\n', '', 'once upon\n'])
  configure({})
  const again = await project.run(built.tasks, ['-S', config, '--retry-failed'])
  expect(again.status, again.err).toBe(0)
  expect(marks()).toEqual(['once upon\n', 'once upon\n', 'once upon\n'])
}, 60_000)

it('a log followed on hosts is followed no more a second after Ctrl-C', async () => {
  const config = join(project.dir, 'ssh_config_follow')
  const [one, two] = servers as [Sshd, Sshd]
  writeFileSync(config, clientConfig('web1', one) + clientConfig('web2', two))
  for (const { home } of [one, two]) writeFileSync(join(home, 'app.log'), 'earlier\nhidden\nseen\n')
  const { child, printed, finished } = project.start(built.tasks, ['-S', config, 'follow'])
  await Promise.all([printed('web1 | seen'), printed('web2 | seen')])
  // Everything that the two servers run: they are this test's own, and nothing else is asked of them.
  const there = () => [one, two].flatMap(({ pid }) => descendants(pid)).length
  expect(there()).toBeGreaterThan(2)
  child.kill('SIGINT')
  const startedAt = Date.now()
  await until(() => there() === 0, 10_000)
  const tookMs = Date.now() - startedAt
  // It is how following ends: no failure.
  expect((await finished).status).toBe(0)
  // A second; on a busy machine a little more, for ps itself.
  expect(tookMs).toBeLessThan(2500)
}, 60_000)

/** The processes below `pid`. */
function descendants(pid: number): number[] {
  const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
  const children = stdout.trim().split(/\s+/).filter(Boolean).map(Number)
  return children.flatMap((child) => [child, ...descendants(child)])
}

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
