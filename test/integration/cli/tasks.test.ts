import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Built, buildSlipway, repository } from '../../built.ts'
import { makeProject, type Project } from './project.ts'

let built: Built
let project: Project
beforeAll(async () => {
  built = await buildSlipway()
})
afterAll(() => built.remove())
afterEach(() => project.remove())

const taskFile = `import { choice, flag, note, rest, result, string, task } from 'slipway'
import { greeting } from './lib/greeting.ts'

const release = choice(['staging', 'production'])
export const start_app = task({
  about: 'Start the app',
  params: { release },
  run: ({ release }) => note('starting ' + release),
})
export const hello = task({
  about: 'Say hello',
  params: { name: string().default('world'), loud: flag() },
  run: ({ name, loud }) => result(greeting(name, loud)),
})
export const words = task({ about: 'Show words', group: 'Extras', params: { words: rest() }, run: ({ words }) => result(words) })
export * as db from './lib/db.ts'
export default hello
`
const files = {
  'tasks.ts': taskFile,
  'lib/greeting.ts': `import { dirname, basename } from 'node:path'
export const greeting = (name: string, loud: boolean): string => {
  const here = [import.meta.url.endsWith('/lib/greeting.ts'), basename(import.meta.dirname), import.meta.filename.length > 5]
  return (loud ? 'HELLO ' : 'hello ') + name + ' ' + here.join(' ') + ' ' + typeof dirname
}
`,
  'lib/db.ts': `import { note, task } from 'slipway'
export const copy = task({ about: 'Copy the data', run: () => note('copying') })
`,
}
const tasks = (...args: string[]) => project.run(built.tasks, args)

describe('a task file', () => {
  it('runs wherever it lies, with no node_modules above it, and each module knows its own place', async () => {
    project = makeProject(files)
    expect(await tasks()).toMatchObject({ status: 0, out: 'hello world true lib true function\n' })
  })

  it('is found upward', async () => {
    project = makeProject(files)
    const { out } = await project.run(built.tasks, ['hello:name=up'], { cwd: 'lib' })
    expect(out).toContain('hello up')
  })

  it('may be JavaScript, or another one with -f', async () => {
    project = makeProject({
      'tasks.js': `import { task, result } from 'slipway'\nexport const js = task({ about: 'js', run: () => result('from js') })\n`,
      'ops/other.mts': `import { task, result } from 'slipway'\nexport const other = task({ about: 'o', run: () => result('from other') })\n`,
    })
    expect((await tasks('js')).out).toBe('from js\n')
    expect((await tasks('-f', 'ops/other.mts', 'other')).out).toBe('from other\n')
  })

  it('may import packages of its own project, JSON, and modules without their ending', async () => {
    project = makeProject({
      'tasks.ts': `import { task, result } from 'slipway'
import esm from 'an-esm'
import cjs from 'a-cjs'
import data from './data.json'
import { twice } from './twice'
export const all = task({ about: 'all', run: async () => result([esm, cjs.name, data.n, twice(2), (await import('./late.ts')).late]) })
`,
      'data.json': '{"n": 7}',
      'twice.ts': 'export const twice = (n: number): number => n * 2\n',
      'late.ts': `export const late: string = 'late'\n`,
      'node_modules/an-esm/package.json': '{"name":"an-esm","type":"module","exports":"./index.js"}',
      'node_modules/an-esm/index.js': `export default 'esm'\n`,
      'node_modules/a-cjs/package.json': '{"name":"a-cjs"}',
      'node_modules/a-cjs/index.js': `module.exports = { name: 'cjs' }\n`,
    })
    expect(JSON.parse((await tasks('all')).out)).toEqual(['esm', 'cjs', 7, 4, 'late'])
  })

  it('may use TypeScript that is not erasable', async () => {
    project = makeProject({
      'tasks.ts': `import { task, result } from 'slipway'
enum Color { Red = 'red' }
export const e = task({ about: 'e', run: () => result(Color.Red) })
`,
    })
    expect((await tasks('e')).out).toBe('red\n')
  })

  it('works where the cache folder cannot be written', async () => {
    project = makeProject(files)
    const cache = project.write('not-a-folder', '')
    const { status, out } = await project.run(built.tasks, ['hello'], { env: { XDG_CACHE_HOME: cache } })
    expect([status, out.slice(0, 11)]).toEqual([0, 'hello world'])
  })
})

describe('the list', () => {
  it('is grouped, and says which is the default', async () => {
    project = makeProject(files)
    const expected = `  hello                Say hello (default)
  start_app:release=…  Start the app

db:
  db.copy              Copy the data

Extras:
  words                Show words
`
    for (let time = 0; time < 2; time++)
      expect(await tasks('--list')).toEqual({ status: 0, signal: null, err: '', out: expected })
    expect((await tasks('-l', '-f', 'tasks.ts')).out).toBe(expected)
  })

  it('is JSON with --json', async () => {
    project = makeProject(files)
    const { out } = await tasks('--list', '--json')
    expect(JSON.parse(out)).toMatchObject({ v: 1, default: 'hello', taskFile: join(project.dir, 'tasks.ts') })
    expect(JSON.parse(out).tasks.find((task: { name: string }) => task.name === 'start_app').params).toEqual([
      {
        name: 'release',
        kind: 'value',
        placeholder: 'staging|production',
        required: true,
        choices: ['staging', 'production'],
      },
    ])
  })

  it('knows of an edit in the task file or in what it imports', async () => {
    project = makeProject(files)
    await tasks('-l')
    appendFileSync(join(project.dir, 'lib/db.ts'), `export const size = task({ about: 'Its size', run: () => {} })\n`)
    expect((await tasks('-l')).out).toContain('db.size')
    appendFileSync(join(project.dir, 'tasks.ts'), `export const more = task({ about: 'More', run: () => {} })\n`)
    expect((await tasks('-l')).out).toContain('More')
    expect((await tasks('more')).status).toBe(0)
  })
})

describe('calls', () => {
  it('take parameters in both spellings, and several tasks run in order', async () => {
    project = makeProject(files)
    const { err, out, status } = await tasks(
      'start_app:release=staging',
      'hello',
      '--name',
      'a,b',
      '--loud',
      'start-app:production',
      'db.copy',
    )
    expect(status).toBe(0)
    expect(out).toMatch(/^HELLO a,b/)
    expect(err).toMatch(/starting staging\n.*starting production\n.*copying\n/s)
  })

  it('give the words after -- to the task that takes them', async () => {
    project = makeProject(files)
    expect(JSON.parse((await tasks('words', '--', 'ls', '-l', 'a b')).out)).toEqual(['ls', '-l', 'a b'])
  })

  it('keep stdout for results: it can be piped', async () => {
    project = makeProject(files)
    const { out, err } = await tasks('hello', 'start_app:staging')
    expect(out.split('\n')).toHaveLength(2)
    expect(err).toContain('==> hello')
  })

  it('are JSON events with --json, and are kept as a log', async () => {
    project = makeProject(files)
    const { out, err } = await tasks('start_app:staging', '--json')
    expect(err).toBe('')
    const events = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(events.map((event) => event.type)).toEqual([
      'run.started',
      'task.started',
      'note',
      'task.finished',
      'run.finished',
    ])
    const runs = join(project.dir, '.slipway/runs')
    expect(readFileSync(join(runs, readdirSync(runs)[0]!), 'utf8')).toBe(out)
  })

  it('leave values that sound secret out of what is kept', async () => {
    project = makeProject({
      'tasks.ts': `import { task, string } from 'slipway'
export const login = task({ about: 'l', params: { password: string(), user: string() }, run: () => {} })
`,
    })
    const { out } = await tasks('login:password=hunter2,user=me', '--json')
    expect(JSON.parse(out.split('\n')[0]!).argv).toEqual(['login:password=•••,user=me', '--json'])
  })

  it('without a default task show the list, and are a usage error', async () => {
    project = makeProject({
      'tasks.ts': `import { task } from 'slipway'\nexport const a = task({ about: 'the a', run: () => {} })\n`,
    })
    const { status, err } = await tasks()
    expect(status).toBe(2)
    expect(err).toContain('the a')
  })
})

describe('help', () => {
  it('of tasks, and of a task', async () => {
    project = makeProject(files)
    expect((await tasks('--help')).out).toContain(
      'Exit status: 0 done, 1 a task failed, 2 used wrongly, 130 interrupted',
    )
    for (const args of [
      ['start_app', '--help'],
      ['--help', 'start-app'],
      ['start_app:x', '-h'],
    ]) {
      const { out, status } = await tasks(...args)
      expect(status).toBe(0)
      expect(out).toContain('Start the app')
      expect(out).toContain('tasks start_app:release=staging')
      expect(out).toContain('--release <staging|production>')
    }
    expect(await tasks('--version')).toMatchObject({ status: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  })
})

describe('what goes wrong in a task file', () => {
  const failing = async (text: string, ...args: string[]) => {
    project = makeProject({ 'tasks.ts': text })
    return await tasks(...args)
  }

  it('there is none', async () => {
    project = makeProject()
    const { status, err } = await tasks('hello')
    expect(status).toBe(2)
    expect(err).toBe(
      `error: there is no task file in ${project.dir} or above it\n  Looked for tasks.ts, tasks.mts, tasks.js, tasks.mjs.\n  → Make one with \`slipway init\`, or name one with \`tasks -f FILE\`.\n`,
    )
    expect((await tasks('-f', 'nowhere.ts', '-l')).err).toContain('nowhere.ts')
  })

  it('a syntax error: its own line', async () => {
    const { status, err } = await failing(
      `import { task } from 'slipway'\n\nexport const a = task({ about: 'a' run: 1 })\n`,
    )
    expect(status).toBe(2)
    expect(err).toMatch(/^error: tasks\.ts:3:\d+: Expected "}" but found "run"\n {6}3 \| export const a = task/)
    expect(err).not.toMatch(/\n\s+at /)
  })

  it('an import that leads nowhere: its own line', async () => {
    const { status, err } = await failing(
      `import { task } from 'slipway'\nimport { x } from './nowhere.ts'\nexport const a = task({ about: x, run() {} })\n`,
    )
    expect(status).toBe(2)
    expect(err).toMatch(/^error: tasks\.ts:2:\d+: Could not resolve "\.\/nowhere\.ts"/)
  })

  it('a name that slipway does not have: its own line, not the bundle’s', async () => {
    const { status, err } = await failing(
      `import { tusk } from 'slipway'\nexport const a = tusk({ about: 'a', run() {} })\n`,
    )
    expect(status).toBe(2)
    expect(err).toContain('tusk')
    expect(err).not.toContain('.mjs')
  })

  it('it throws while it is loaded: its own line', async () => {
    const { status, err } = await failing(
      `import { task } from 'slipway'\nconst config: { name?: string } = {}\nexport const a = task({ about: config.name!.trim(), run() {} })\n`,
    )
    expect(status).toBe(2)
    expect(err).toContain('error: tasks.ts:3:')
    expect(err).toContain('TypeError: .trim was read of a value that is not set')
    expect(err).not.toContain('undefined')
    expect(err).toContain('nothing was run')
  })

  it('a task throws: its own line, status 1, the stack only with --debug', async () => {
    const text = `import { task } from 'slipway'\nexport const a = task({\n  about: 'a',\n  run: () => {\n    throw new RangeError('too far')\n  },\n})\n`
    const { status, err } = await failing(text, 'a')
    expect(status).toBe(1)
    expect(err).toContain('error: tasks.ts:5:11: RangeError: too far\n      5 |     throw new RangeError')
    expect(err).toContain('The task a ended there; what was done before it stays done.')
    expect(err).toContain('→ `--debug` shows the stack.')
    expect(err).not.toMatch(/\n\s+at /)
    expect((await tasks('a', '--debug')).err).toMatch(/\n\s+at .*tasks\.ts:5:11/)
  })

  it.each([
    ["import { $ } from 'zx'", '$`exit 3`', /error: a command on this machine ended with status 3/],
    [
      "import { readFileSync } from 'node:fs'",
      "readFileSync('nowhere.txt')",
      /tasks\.ts:2:\d+: there is no file or folder nowhere\.txt/,
    ],
    ['', "fetch('http://127.0.0.1:9/')", /a request failed: /],
  ])('a library throws in it: %s %s', async (imports, call, message) => {
    project = makeProject({
      'tasks.ts': `import { task } from 'slipway'; ${imports}\nexport const a = task({ about: 'a', run: async () => { await ${call} } })\n`,
    })
    mkdirSync(join(project.dir, 'node_modules'))
    symlinkSync(join(repository, 'node_modules/zx'), join(project.dir, 'node_modules/zx'))
    const { status, err } = await tasks('a')
    expect(status).toBe(1)
    expect(err).toMatch(message)
    expect(err).toContain('The task a ended there')
    expect(err).toMatch(/\n {2}→ \S/)
    expect(err).not.toMatch(/\n\s+at |undefined|ENOENT|fetch failed|Error:/)
  })

  it('a task rejects with something that is no error', async () => {
    const { status, err } = await failing(
      `import { task } from 'slipway'\nexport const a = task({ about: 'a', run: () => Promise.reject({ odd: 1 }) })\n`,
      'a',
    )
    expect(status).toBe(1)
    expect(err).not.toContain('[object Object]')
    expect(err).toContain('odd')
  })

  it('an error that nobody awaited ends the run as a failure', async () => {
    const { status, err } = await failing(
      `import { task } from 'slipway'\nexport const a = task({ about: 'a', run: async () => {\n  void Promise.reject(new Error('forgotten'))\n  await new Promise((resolve) => setImmediate(resolve))\n} })\n`,
      'a',
    )
    expect(status).toBe(1)
    expect(err).toContain('tasks.ts:3:')
    expect(err).toContain('forgotten')
  })

  it('it exports no task, or a default that is none', async () => {
    expect((await failing('export const a = 1\n')).err).toContain('error: tasks.ts exports no task')
    project.remove()
    const { status, err } = await failing(
      `import { task } from 'slipway'\nexport const a = task({ about: 'a', run() {} })\nexport default 1\n`,
    )
    expect(status).toBe(2)
    expect(err).toContain('the default export of tasks.ts is not a task')
  })

  it('a plain function called as a task, or asked for its help', async () => {
    const { status, err } = await failing(
      `import { task } from 'slipway'\nexport const a = task({ about: 'a', run() {} })\nexport function deploy() {}\n`,
      'deploy',
    )
    expect(status).toBe(2)
    expect(err).toContain('there is no task "deploy"')
    expect(err).toContain("deploy is exported as a plain function: make it a task with `task({ about: '…', run: … })`.")
    expect((await tasks('deploy', '--help')).err).toBe(err)
  })
})

describe('what is typed wrongly', () => {
  it.each([
    [['start_ap'], 'there is no task "start_ap"', 'Did you mean start_app?'],
    [['start_app:relase=staging'], 'start_app has no parameter "relase"', 'Did you mean release?'],
    [
      ['start_app:release=stagin'],
      'start_app: release: "stagin" is not one of staging, production',
      'Did you mean staging?',
    ],
    [['start_app'], 'start_app needs the parameter release', 'For example: tasks start_app:release=staging'],
    [['start_app', '--release'], '--release needs a value', ''],
    [['hello', '--dry-rum'], 'hello has no parameter "dry-rum"', 'Did you mean --dry-run?'],
    [['hello', '-z', 'many'], '--pool-size: "many" is not a number of hosts', '-z 10'],
    [['hello', '-P', '--serial'], '--parallel and --serial exclude each other', ''],
  ])('%j: a suggestion, status 2, and nothing ran, not even what came before it', async (args, message, next) => {
    project = makeProject(files)
    const { status, out, err } = await tasks('hello:name=before', ...args)
    expect(err).toContain(message)
    expect(err).toContain(next)
    expect({ status, out }).toEqual({ status: 2, out: '' })
    expect(existsSync(join(project.dir, '.slipway'))).toBe(false)
  })

  it('-H that nothing used is an error, said with what did happen', async () => {
    project = makeProject(files)
    const { status, err } = await tasks('hello', '-H', 'web1')
    expect(status).toBe(2)
    expect(err).toContain('error: -H narrowed nothing: no task ran over several hosts')
  })
})

it('two copies of the package are an error that names both', async () => {
  project = makeProject({
    'tasks.ts': `import { task } from 'slipway'\nimport { theirs } from 'helpers'\nexport const a = task({ about: 'a', run() {} })\nexport const b = theirs\n`,
    'node_modules/helpers/package.json': '{"name":"helpers","type":"module","exports":"./index.js"}',
    'node_modules/helpers/index.js': `import { task } from 'slipway'\nexport const theirs = task({ about: 't', run() {} })\n`,
  })
  const other = await buildSlipway()
  symlinkSync(other.root, join(project.dir, 'node_modules/slipway'))
  const { status, err } = await tasks('-l')
  other.remove()
  expect(status).toBe(2)
  expect(err).toContain('two copies of slipway were loaded')
  expect(err).toContain(built.root)
  expect(err).toContain(other.root)
})

it('another copy of the same version makes its own of a task file that this one has loaded', async () => {
  project = makeProject({
    'tasks.ts': `import { task } from 'slipway'\nexport const hello = task({ about: 'Say hello', run() {} })\n`,
  })
  const other = await buildSlipway()
  try {
    for (const copy of [built, other, built]) {
      for (const words of [['hello'], ['-l'], ['--complete', '--', 'hel']]) {
        const { status, err } = await project.run(copy.tasks, words)
        expect({ status, words, err: err.includes('error') }).toEqual({ status: 0, words, err: false })
      }
    }
  } finally {
    other.remove()
  }
  // The other copy is gone, and what it made of the file with it.
  expect(await tasks('hello')).toMatchObject({ status: 0 })
})

describe('an interruption', () => {
  const slow = `import { appendFileSync } from 'node:fs'
import { currentRun, note, task } from 'slipway'
const aborted = (signal: AbortSignal) => new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
export const polite = task({ about: 'p', run: async () => {
  currentRun().defer(() => appendFileSync('let-go', 'yes'))
  note('waiting')
  setInterval(() => {}, 1000)
  await aborted(currentRun().signal)
} })
export const deaf = task({ about: 'd', run: async () => {
  note('waiting')
  await new Promise((resolve) => setTimeout(resolve, 60_000))
} })
`
  it.each(['SIGINT', 'SIGTERM'] as const)('%s aborts, lets go, and is status 130', async (signal) => {
    project = makeProject({ 'tasks.ts': slow })
    const { child, printed, finished } = project.start(built.tasks, ['polite'])
    await printed('waiting')
    child.kill(signal)
    const { status, err } = await finished
    expect(status).toBe(130)
    expect(err).toContain('interrupted')
    expect(readFileSync(join(project.dir, 'let-go'), 'utf8')).toBe('yes')
  })

  it('a second one leaves at once', async () => {
    project = makeProject({ 'tasks.ts': slow })
    const { child, printed, finished } = project.start(built.tasks, ['deaf'])
    await printed('waiting')
    child.kill('SIGINT')
    await printed('once more leaves at once')
    child.kill('SIGINT')
    expect((await finished).status).toBe(130)
  })
})

it('a reader that goes away ends the run quietly', async () => {
  project = makeProject({
    'tasks.ts': `import { currentRun, result, task } from 'slipway'
export const endless = task({ about: 'e', run: async () => {
  for (;;) {
    currentRun().signal.throwIfAborted()
    result('line')
    await new Promise((resolve) => setImmediate(resolve))
  }
} })
`,
  })
  const { child, printed, finished } = project.start(built.tasks, ['endless'])
  await printed('line')
  child.stdout?.destroy()
  const { status, err } = await finished
  expect(status).toBe(130)
  expect(err).not.toContain('EPIPE')
})

it('the log of a run is for its user alone', async () => {
  project = makeProject(files)
  mkdirSync(join(project.dir, '.slipway'), { recursive: true })
  chmodSync(join(project.dir, '.slipway'), 0o755)
  writeFileSync(join(project.dir, '.slipway/.gitignore'), '# mine\n')
  await tasks('hello')
  expect(readFileSync(join(project.dir, '.slipway/.gitignore'), 'utf8')).toBe('# mine\n')
})

describe('several hosts', () => {
  // This machine by two names, as far as resolving goes: what matters is which of them are chosen.
  const fleet = `import { hosts, note, task } from 'slipway'
export const each = task({ about: 'e', run: async () => {
  await hosts('one.invalid', 'two.invalid').each((host) => {
    note('at ' + host.name)
    if (host.name.startsWith('two')) throw new Error('down')
  })
} })
export const empty = task({ about: 'n', run: () => hosts().each(() => {}) })
`

  it('--retry-failed runs the same call again where it failed', async () => {
    project = makeProject({ 'tasks.ts': fleet })
    const first = await tasks('each')
    expect(first.status).toBe(1)
    expect(first.err).toContain('--retry-failed')
    const again = await tasks('--retry-failed')
    expect(again.err).toContain('at two.invalid')
    expect(again.err).not.toContain('at one.invalid')
    expect((await tasks('empty', '--retry-failed')).err).toContain(
      'what failed on some hosts was another call: tasks each',
    )
    // Once it succeeded everywhere there is nothing to try again.
    project.write('tasks.ts', fleet.replace('two.invalid', 'ok.invalid'))
    expect((await tasks('each')).status).toBe(0)
    expect(await tasks('--retry-failed')).toMatchObject({
      status: 2,
      err: expect.stringContaining('no call is known that failed'),
    })
  })

  it('-H and -x choose among them; choosing none is an error, and so is an empty group', async () => {
    project = makeProject({ 'tasks.ts': fleet })
    const one = await tasks('each', '-x', 'two.invalid')
    expect(one.status).toBe(0)
    expect(one.err).toContain('at one.invalid')
    const none = await tasks('each', '-H', 'three.invalid')
    expect(none.status).toBe(2)
    expect(none.err).not.toContain('at ')
    expect(await tasks('empty')).toMatchObject({ status: 2, err: expect.stringContaining('there are no hosts') })
  })
})
