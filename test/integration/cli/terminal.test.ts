/** What a person sees and types: the built command on a real terminal, tmux's, read back from its screen. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Built, buildSlipway } from '../../built.ts'
import { clientConfig, type Sshd, startSshd } from '../hosts/sshd.ts'
import { makeProject, type Project } from './project.ts'

const taskFile = `import { ask, hosts, local, note, result, task } from 'slipway'

export const wait = task({
  about: 'Wait until there is a file go',
  run: async () => {
    await local().$\`until test -e go; do sleep 0.05; done; echo 日本語の行 gone on\`
  },
})
export const flood = task({
  about: 'Print, quickly, from two at a time',
  run: () =>
    Promise.all([
      local().$\`i=0; while test $i -lt 3000; do i=$((i+1)); echo "one $i"; done\`,
      local().$\`i=0; while test $i -lt 3000; do i=$((i+1)); echo "two $i"; done\`,
    ]),
})
export const two = task({
  about: 'Two changes',
  run: async () => {
    await local().$\`touch first\`
    await local().$\`touch second\`
  },
})
export const questions = task({
  about: 'Ask',
  run: async () => {
    const sure = await ask.confirm('Go on?')
    const name = await ask.text('Whose is it?')
    const key = await ask.password('The key?')
    result([sure, name, key.length].join(' '))
  },
})
export const fleet = task({
  about: 'On two hosts',
  run: async () => {
    await hosts('one', 'two').each((host) => host.$\`true\`)
  },
})
`

let built: Built
let project: Project
let terminal: Terminal
beforeAll(async () => {
  built = await buildSlipway()
}, 120_000)
afterAll(() => built.remove())
beforeEach(() => {
  project = makeProject({ 'tasks.ts': taskFile })
  terminal = openTerminal(project.dir, built)
})
afterEach(() => {
  terminal.close()
  project.remove()
})

describe('on a terminal', { timeout: 60_000 }, () => {
  it('shows what is going on below what is done, and takes it away when it is over', async () => {
    terminal.type('tasks wait', 'Enter')
    const during = await terminal.shows(/^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] \[local\] until test -e go.* \d+(\.\d)? m?s$/m)
    expect(during).toMatch(/^wait$/m)
    writeFileSync(join(project.dir, 'go'), '')
    const after = await terminal.shows(/^ended 0$/m)
    expect(after).toMatch(/^ {2}\[local\] 日本語の行 gone on$/m)
    expect(after).toMatch(/^✓ wait \d/m)
    expect(after).not.toMatch(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/)
  })

  it('fits a narrow one, and one that becomes narrow meanwhile', async () => {
    terminal.type('tasks wait', 'Enter')
    await terminal.shows(/until test -e go; do sleep 0\.05; done/)
    terminal.resize(30, 12)
    await terminal.shows(/^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] \[local\] until test -e.{1,6}…$/m)
    writeFileSync(join(project.dir, 'go'), '')
    const after = await terminal.shows(/^ended 0$/m)
    expect(after).not.toMatch(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/)
  })

  it('never mixes two commands within a line, however quickly they print', async () => {
    terminal.type('tasks flood', 'Enter')
    const lines = (await terminal.shows(/^ended 0$/m, { history: true }))
      .split('\n')
      .filter((line) => /\b(one|two) \d/.test(line))
    const printed = lines.filter(
      (line) => !line.includes('$ ') && !line.includes('echo') && !/^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/.test(line),
    )
    expect(printed.filter((line) => !/^ {2}\[local\] (one|two) \d+$/.test(line))).toEqual([])
    expect(printed.length).toBe(6000)
  })

  it('is left at once by Ctrl-C, with its status', async () => {
    terminal.type('tasks wait', 'Enter')
    await terminal.shows(/\[local\] until test/)
    terminal.type('C-c')
    const after = await terminal.shows(/^ended 130$/m)
    expect(after).toContain('interrupted: ending what runs on the hosts')
    expect(after).not.toMatch(/^ +at /m)
    expect(after).not.toMatch(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/)
  })

  it('asks questions, shows no password, and puts the result on stdout', async () => {
    terminal.type('tasks questions >answers', 'Enter')
    await terminal.shows(/Go on\?/)
    terminal.type('y')
    await terminal.shows(/Whose is it\?/)
    terminal.type('Ada', 'Enter')
    await terminal.shows(/The key\?/)
    terminal.type('tr0ub4dor', 'Enter')
    const after = await terminal.shows(/^ended 0$/m)
    expect(after).not.toContain('tr0ub4dor')
    terminal.type('cat answers', 'Enter')
    await terminal.shows(/^true Ada 9$/m)
  })

  it('ends at a question, too, by Ctrl-C', async () => {
    terminal.type('tasks questions', 'Enter')
    await terminal.shows(/Go on\?/)
    terminal.type('C-c')
    expect(await terminal.shows(/^ended 130$/m)).toContain('interrupted at a question')
  })

  it('ends at a question by SIGTERM', async () => {
    terminal.type(`sh -c 'echo $$ >pid; exec ${process.execPath} ${built.tasks} questions'`, 'Enter')
    await terminal.shows(/Go on\?/)
    process.kill(Number(readFileSync(join(project.dir, 'pid'), 'utf8')), 'SIGTERM')
    expect(await terminal.shows(/^ended 130$/m)).toContain('interrupted by SIGTERM')
    terminal.type('stty -a', 'Enter')
    await terminal.shows(/[^-]icanon/)
  })

  describe('where two hosts have a question', () => {
    let sshd: Sshd
    beforeAll(async () => {
      sshd = await startSshd({ addresses: ['127.0.0.2'] })
    })
    afterAll(() => sshd.stop())

    it.each([
      ['a run', 'tasks fleet'],
      ['doctor', 'slipway doctor'],
    ])('ends %s by one Ctrl-C', async (_what, command) => {
      const known = { ...sshd, knownHosts: join(project.dir, 'known_hosts') }
      const config = ['127.0.0.1', '127.0.0.2'].map((address, index) =>
        clientConfig(['one', 'two'][index] as string, { ...known, address }, 'StrictHostKeyChecking ask'),
      )
      project.write('ssh_config', config.join(''))
      project.write(
        'config/deploy.ini',
        '[app]\nname = a\nserver = exec a\nlisten = port 8000\n[staging]\ntarget = vps\nhosts = one, two\nrelease = r\n',
      )
      terminal.type(`${command} -S ssh_config`, 'Enter')
      await terminal.shows(/is not known/)
      terminal.type('C-c')
      const after = await terminal.shows(/^ended 130$/m, { history: true })
      expect(after.match(/Trust it/g)).toHaveLength(1)
      expect(after).toContain('error: interrupted at a question')
    })
  })

  it('asks before each change with --step, and stops at the first no', async () => {
    terminal.type('tasks two --step', 'Enter')
    await terminal.shows(/local: touch first/)
    expect(existsSync(join(project.dir, 'first'))).toBe(false)
    terminal.type('y')
    await terminal.shows(/local: touch second/)
    expect(existsSync(join(project.dir, 'first'))).toBe(true)
    terminal.type('n')
    const after = await terminal.shows(/^ended 1$/m)
    expect(after).toContain('not approved on local: touch second')
    expect(existsSync(join(project.dir, 'second'))).toBe(false)
  })
})

interface Terminal {
  /** Types text, or keys by tmux's names: Enter, C-c. */
  type(...keys: string[]): void
  /** Resolves with the screen once it matches; rejects with the screen after a quarter of a minute. */
  shows(pattern: RegExp, options?: { history?: boolean }): Promise<string>
  resize(columns: number, rows: number): void
  close(): void
}

/** A shell in a terminal of 100 by 30, with `tasks` and `slipway` in it; it says the status of each command, as `ended 0`. */
function openTerminal(cwd: string, { tasks, slipway, root }: Built): Terminal {
  const folder = mkdtempSync(join(tmpdir(), 'slipway-tmux-'))
  const rc = join(folder, 'rc')
  const conf = join(folder, 'tmux.conf')
  writeFileSync(conf, 'set -g history-limit 20000\n')
  writeFileSync(
    rc,
    `unset HISTFILE\nPS1='> '\ntasks() { ${process.execPath} ${tasks} "$@"; }\nslipway() { ${process.execPath} ${slipway} "$@"; }\nPROMPT_COMMAND='status=$?; test -n "$asked" && echo "ended $status"; asked=1'\n`,
  )
  const tmux = (...args: string[]) =>
    execFileSync('tmux', ['-u', '-S', join(folder, 'socket'), '-f', conf, ...args], {
      encoding: 'utf8',
      env: {
        PATH: process.env['PATH'],
        HOME: folder,
        LANG: 'C.UTF-8',
        TERM: 'xterm-256color',
        XDG_CACHE_HOME: join(root, 'cache'),
      },
    })
  tmux('new-session', '-d', '-s', 't', '-x', '100', '-y', '30', '-c', cwd, `bash --rcfile ${rc} -i`)
  return {
    type: (...keys) => {
      for (const key of keys) tmux('send-keys', '-t', 't', ...(/^(Enter|C-.)$/.test(key) ? [key] : ['-l', key]))
    },
    async shows(pattern, { history = false } = {}) {
      const deadline = Date.now() + 15_000
      for (;;) {
        const screen = tmux('capture-pane', '-p', '-t', 't', ...(history ? ['-S', '-'] : []))
        if (pattern.test(screen)) return screen
        if (Date.now() > deadline) throw new Error(`${pattern} is not on the screen:\n${screen}`)
        await new Promise((resolve) => setTimeout(resolve, 30))
      }
    },
    resize: (columns, rows) => void tmux('resize-window', '-t', 't', '-x', String(columns), '-y', String(rows)),
    close() {
      tmux('kill-server')
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
