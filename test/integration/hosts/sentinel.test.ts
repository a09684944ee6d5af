/** A secret of nasty characters is used in every way, and then looked for in everything that was shown or kept. */
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { quote } from '../../../src/shell/index.ts'
import { type Built, buildSlipway } from '../../built.ts'
import { makeProject, type Project } from '../cli/project.ts'
import { type Sshd, startSshd } from './sshd.ts'

/** Letters that every encoding but base64 leaves as they are: whoever shows the secret shows them. */
const fragment = 'Sentinel7Fragment'
const sentinel = `é'"\\$\`x ${fragment} &<>%+/=~!*(ü)#;|`

const taskFile = `
import { host, secret, sh, task } from 'slipway'

const there = async () => host('test').env({ TOKEN: await secret('TOKEN') })

export const leak = task({
  about: 'Prints a secret in every encoding',
  run: async () => {
    const h = await there()
    await h.$\`printf '%s\\n' "$TOKEN"; printf 'to stderr: %s\\n' "$TOKEN" >&2\`
    for (const before of ['', 'x', 'xy']) await h.$\`printf '%s%s' \${before} "$TOKEN" | base64 -w 0\`
    await h.$\`/usr/bin/python3 -c 'import os, json, shlex, urllib.parse as u
t = os.environ["TOKEN"]
print(json.dumps(t, ensure_ascii=False), json.dumps(t), shlex.quote(t), u.quote(t), u.quote_plus(t), u.quote(t, safe=""), sep="\\\\n")'\`
    // In two pieces, with a pause that no buffer bridges.
    await h.$\`/usr/bin/python3 -c 'import os, sys, time
t = os.environb[b"TOKEN"]
for part in (t[:1], t[1:12], t[12:20], t[20:], b"\\\\n"):
    sys.stdout.buffer.write(part); sys.stdout.flush(); time.sleep(0.15)'\`
    await h.$\`ps -eo args >~/ps-command\`
    await h.script([{ name: 'use it', command: sh\`printf '%s' \${await secret('TOKEN')} >~/used; ps -eo args >~/ps-script\` }])
    await host('test').write('~/kept', await secret('TOKEN'))
    await h.$\`cat\`.input(await secret('TOKEN'))
    console.log('the console:', String(await secret('TOKEN')), JSON.stringify({ token: await secret('TOKEN') }))
  },
})

export const fail = task({
  about: 'Fails, with the secret in what it says',
  run: async () => void (await (await there()).$\`echo "wrong: $TOKEN"; echo "bad: $TOKEN" >&2; exit 3\`),
})

export const failInScript = task({
  about: 'Fails in a script',
  run: async () => {
    await host('test').script([{ name: 'first', command: sh\`echo \${await secret('TOKEN')}; exit 4\` }])
  },
})

export const thrown = task({
  about: 'Throws the secret',
  run: async () => {
    throw new Error('refused: ' + (await secret('TOKEN')).reveal())
  },
})
`

let sshd: Sshd
let built: Built
let project: Project
beforeAll(async () => {
  ;[sshd, built] = await Promise.all([startSshd(), buildSlipway()])
  project = makeProject({ 'tasks.ts': taskFile })
})
afterAll(async () => {
  project?.remove()
  built?.remove()
  await sshd?.stop()
})

/** The lines of `text` that have the secret: a part of it that no encoding changes, or any base64 of its middle. */
function found(text: string): string[] {
  const bytes = Buffer.from(sentinel)
  const base64 = [0, 1, 2].map((offset) => {
    const whole = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64')
    return whole.slice(4, whole.length - 4)
  })
  const forms = [fragment, ...base64, ...base64.map((form) => form.replaceAll('+', '-').replaceAll('/', '_'))]
  return text.split('\n').filter((line) => forms.some((form) => line.includes(form)))
}

const filesUnder = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .map((name) => join(dir, name))
    .filter((file) => statSync(file).isFile())

const hasScript = spawnSync('script', ['--version']).status === 0
const tasks = ['leak', 'fail', 'failInScript', 'thrown']
const ways: [name: string, args: string[], env: Record<string, string>][] = [
  ['plain lines', ['-v'], {}],
  ['JSON lines', ['--json'], {}],
  ['GitHub', ['-v'], { GITHUB_ACTIONS: 'true' }],
  ['GitLab', ['-v'], { GITLAB_CI: 'true' }],
  ['everything, with stacks', ['--debug'], {}],
]

describe('a secret', () => {
  it.each(ways)('is not shown as %s', async (_name, args, env) => {
    for (const task of tasks) {
      const done = await project.run(built.tasks, ['-S', sshd.sshConfigFile, ...args, task], {
        env: { ...env, TOKEN: sentinel },
      })
      expect(found(done.out), `stdout of ${task}`).toEqual([])
      expect(found(done.err), `stderr of ${task}`).toEqual([])
      expect(done.status, `${done.out}${done.err}`).toBe(task === 'leak' ? 0 : 1)
      expect(`${done.out}${done.err}`).toContain('•••')
    }
  })

  it.skipIf(!hasScript)('is not drawn on a terminal', async () => {
    const home = dirname(project.dir)
    for (const task of tasks) {
      // script(1) makes the terminal, and says what was drawn on it.
      const line = [process.execPath, built.tasks, '-S', sshd.sshConfigFile, '-v', task].map(quote).join(' ')
      const child = spawn('script', ['-qec', line, '/dev/null'], {
        cwd: project.dir,
        env: {
          PATH: process.env.PATH,
          HOME: home,
          XDG_CACHE_HOME: join(home, 'cache'),
          TERM: 'xterm-256color',
          SHELL: '/bin/sh',
          TOKEN: sentinel,
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let drawn = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        drawn += text
      })
      const status = await new Promise((resolve) => child.once('close', resolve))
      expect(status, drawn).toBe(task === 'leak' ? 0 : 1)
      // It was drawn, not printed line by line; and what was drawn over counts too.
      expect(drawn).toContain('\x1b[')
      expect(drawn).toContain('•••')
      expect(found(drawn), task).toEqual([])
    }
  })

  it('got there whole, is in no process list, and in no log, report or file of the project', async () => {
    expect(readFileSync(join(sshd.home, 'used'), 'utf8')).toBe(sentinel)
    expect(readFileSync(join(sshd.home, 'kept'), 'utf8')).toBe(sentinel)
    for (const list of ['ps-command', 'ps-script']) {
      const processes = readFileSync(join(sshd.home, list), 'utf8')
      expect(processes).toContain('ps -eo args')
      expect(found(processes)).toEqual([])
    }
    const reported = await project.run(built.slipway, ['report', '-o', 'report.html'])
    expect(reported.status, reported.err).toBe(0)
    const kept = filesUnder(project.dir)
    expect(kept.filter((file) => file.endsWith('.jsonl'))).toHaveLength(
      (ways.length + (hasScript ? 1 : 0)) * tasks.length,
    )
    expect(kept.some((file) => file.endsWith('report.html'))).toBe(true)
    for (const file of kept) expect(found(readFileSync(file, 'utf8')), file).toEqual([])
  })
})
