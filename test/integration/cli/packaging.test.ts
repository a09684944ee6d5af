import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Built, buildSlipway, repository } from '../../built.ts'

const exec = promisify(execFile)

let built: Built
let work: string
let tarball: string
let packed: string[]

beforeAll(async () => {
  built = await buildSlipway({ types: true })
  work = mkdtempSync(join(tmpdir(), 'slipway-packed-'))
  const { stdout } = await exec('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', work], {
    cwd: built.root,
  })
  const [report] = JSON.parse(stdout) as [{ filename: string; files: { path: string; mode: number }[] }]
  tarball = join(work, report.filename)
  packed = report.files.map(({ path }) => path).sort()
})
afterAll(() => {
  built.remove()
  rmSync(work, { recursive: true, force: true })
})

const filesBelow = (folder: string): string[] =>
  readdirSync(join(built.root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(built.root.length + 1))

describe('the tarball', () => {
  it('holds the build, the schemas, the templates and the papers, and nothing else', () => {
    const papers = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'].filter((file) =>
      existsSync(join(repository, file)),
    )
    expect(packed).toEqual(
      [...filesBelow('dist'), ...filesBelow('schemas'), ...filesBelow('templates'), ...papers].sort(),
    )
    expect(packed).toEqual(
      expect.arrayContaining([
        'LICENSE',
        'dist/bin/tasks.js',
        'dist/bin/slipway.js',
        'dist/index.d.ts',
        'dist/testing/index.d.ts',
      ]),
    )
    expect(packed.filter((file) => file.startsWith('dist/') && !/\.(js|d\.ts)$/.test(file))).toEqual([
      'dist/ssh2.cjs',
      'dist/ssh2.json',
      'dist/ssh2.licences.txt',
    ])
  })

  it('lacks no module that another imports', () => {
    const missing = packed
      .filter((file) => /^dist\/.*\.js$/.test(file))
      .flatMap((file) =>
        [
          ...readFileSync(join(built.root, file), 'utf8').matchAll(
            /^(?:import|export)[^;]*?"(\.[^"]+)";$|[^\w]import\("(\.[^"]+)"\)/gm,
          ),
        ]
          .map((match) => join(dirname(file), (match[1] ?? match[2])!))
          .filter((path) => !packed.includes(path))
          .map((path) => `${file}: ${path}`),
      )
    expect(missing).toEqual([])
  })

  it('passes publint', async () => {
    const { publint } = await import('publint')
    const { messages } = await publint({ pkgDir: built.root, pack: false })
    expect(messages.filter(({ type }) => type !== 'suggestion')).toEqual([])
  })

  it('passes arethetypeswrong', async () => {
    // Its exit status says so; what it says of require() and of Node 10 does not concern an ESM package.
    await exec(join(repository, 'node_modules/.bin/attw'), [tarball, '--profile', 'esm-only'])
  })
})

describe('installed elsewhere', () => {
  let project: string

  beforeAll(async () => {
    project = join(work, 'project')
    mkdirSync(project)
    writeFileSync(join(project, 'package.json'), '{"name":"theirs","private":true,"type":"module"}')
    await exec('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball], { cwd: project })
    writeFileSync(
      join(project, 'tasks.ts'),
      `import { type Host, choice, flag, hosts, result, task } from 'slipway'

export const hello = task({
  about: 'Say hello',
  params: { to: choice(['staging', 'production']), loud: flag() },
  run: ({ to, loud }) => {
    const place: 'staging' | 'production' = to
    result((loud ? 'HELLO ' : 'hello ') + place)
    return 7
  },
})
export const uptime = task({
  about: 'Load',
  run: async () => {
    const seven: number = await hello({ to: 'staging', loud: true })
    const text: string = await hosts('web1').first().probe\`uptime \${seven}\`.text()
    return text
  },
})
export const each = (fn: (host: Host) => Promise<void>) => hosts('web1', 'web2').each(fn)
export default hello
`,
    )
  }, 180_000)

  const npx = (...args: string[]) =>
    exec('npx', ['--no-install', ...args], {
      cwd: project,
      env: { ...process.env, XDG_CACHE_HOME: join(work, 'cache') },
    })

  it('lists and runs tasks', async () => {
    expect((await npx('tasks', '-l')).stdout).toContain('hello:to=…  Say hello (default)')
    expect((await npx('tasks', 'hello:staging,loud')).stdout).toBe('HELLO staging\n')
    expect((await npx('slipway', '--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  it('has no dependency that it does not name', async () => {
    for (const [name] of Object.entries(
      JSON.parse(readFileSync(join(built.root, 'package.json'), 'utf8')).dependencies,
    )) {
      expect(existsSync(join(project, 'node_modules', name))).toBe(true)
    }
    const { dependencies } = JSON.parse(readFileSync(join(built.root, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>
    }
    const bare = filesBelow('dist')
      .filter((file) => file.endsWith('.js'))
      .flatMap((file) => [
        ...readFileSync(join(built.root, file), 'utf8').matchAll(
          /^(?:import|export)[^;]*?from "([^."][^"]*)"|import\("([^."][^"]*)"\)/gm,
        ),
      ])
      .map((match) => (match[1] ?? match[2])!)
      .filter((name) => !name.startsWith('node:'))
      .map((name) =>
        name
          .split('/')
          .slice(0, name.startsWith('@') ? 2 : 1)
          .join('/'),
      )
    expect([...new Set(bare)].filter((name) => !(name in dependencies))).toEqual([])
  })

  it('has types that a strict project compiles against, and that refuse a wrong value', async () => {
    mkdirSync(join(project, 'node_modules/@types'), { recursive: true })
    symlinkSync(join(repository, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'))
    cpSync(join(repository, 'node_modules/undici-types'), join(project, 'node_modules/undici-types'), {
      recursive: true,
    })
    const options = {
      strict: true,
      noEmit: true,
      target: 'es2023',
      module: 'nodenext',
      types: ['node'],
      skipLibCheck: false,
    }
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['*.ts'] }))
    const tsc = () =>
      exec(join(repository, 'node_modules/.bin/tsc'), ['-p', project]).catch((error: { stdout: string }) => error)
    expect((await tsc()).stdout).toBe('')
    writeFileSync(
      join(project, 'wrong.ts'),
      `import { hello } from './tasks.js'\nvoid hello({ to: 'stagin', loud: 7 })\nvoid hello()\n`,
    )
    const { stdout } = await tsc()
    expect(stdout).toContain("Type 'number' is not assignable to type 'string | boolean")
    expect(stdout).toContain('wrong.ts(3,6)')
  })
})
