/** What `slipway init` writes into projects of every kind that it knows: task files that type-check, for both targets. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { afterAll, expect, test } from 'vitest'
import { type InitOptions, initCommand } from '../../../src/cli/init/init.ts'
import { repository } from '../../built.ts'

const base = mkdtempSync(join(tmpdir(), 'slipway-init-'))
afterAll(() => rmSync(base, { recursive: true }))

const projects: Record<string, Record<string, string>> = {
  Django: { 'manage.py': "('DJANGO_SETTINGS_MODULE', 'shop.settings')", Procfile: 'worker: celery -A shop worker\n' },
  Flask: { 'app.py': '', 'requirements.txt': 'Flask\ngunicorn\n' },
  Pyramid: { 'development.ini': '[app:main]\nuse = egg:shop\n' },
  Rails: { Gemfile: "gem 'rails'\n" },
  Node: { 'package.json': '{"name":"shop","scripts":{"start":"node server.js"}}', 'server.js': '' },
  Procfile: { Procfile: 'web: bin/serve\nmailer: bin/mail\nrelease: bin/migrate\n' },
  'heroku.yml': { 'heroku.yml': 'run:\n  web: bin/serve\n' },
  nothing: {},
}

function init(name: string, files: Record<string, string>, options: InitOptions): { dir: string; said: string } {
  const dir = join(base, `${name}-${options.target}`)
  for (const [file, text] of Object.entries({ ...files, '.git/HEAD': 'ref: refs/heads/main\n' })) {
    mkdirSync(dirname(join(dir, file)), { recursive: true })
    writeFileSync(join(dir, file), text)
  }
  let said = ''
  const out = (text: string) => {
    said += text
  }
  const io = { out, err: out, cwd: dir, env: { HOME: base }, stdin: {}, stdout: {}, stderr: {}, onBrokenPipe() {} }
  expect(initCommand(options, io)).toBe(0)
  return { dir, said }
}

test('every kind of project gets a task file that type-checks, and the next command is said', () => {
  const files = Object.entries(projects).flatMap(([name, files]) =>
    (['vps', 'heroku'] as const).map((target) => {
      const { dir, said } = init(name, files, { target })
      expect(said).toContain(name === 'nothing' ? 'Found no framework' : `Found ${name} in`)
      expect(said).toContain('in git on main')
      expect(said).toContain(target === 'vps' ? 'tasks --sandbox init_staging' : 'tasks deploy_staging')
      expect(readFileSync(join(dir, 'config/deploy.ini'), 'utf8')).toContain(`target = ${target}`)
      return join(dir, 'tasks.ts')
    }),
  )
  expect(files).toHaveLength(16)
  expect(mistakesIn(files)).toEqual([])
}, 120_000)

/** As an editor sees them, with `slipway` being this package's source. */
function mistakesIn(files: readonly string[]): string[] {
  const { config } = ts.readConfigFile(join(repository, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, repository)
  const program = ts.createProgram(files, {
    ...options,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    typeRoots: [join(repository, 'node_modules/@types')],
  })
  return files.flatMap((file) => {
    const source = program.getSourceFile(file) as ts.SourceFile
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText }) => `${file}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    )
  })
}

test('the one host of ssh’s configuration is taken; of several, none, and they are named', () => {
  mkdirSync(join(base, '.ssh'), { recursive: true })
  const config = join(base, '.ssh/config')
  writeFileSync(config, 'Host *\n  Compression yes\nHost shopbox\n  User deploy\n')
  const one = init('alias', projects['Node'] ?? {}, { target: 'vps' })
  expect(readFileSync(join(one.dir, 'config/deploy.ini'), 'utf8')).toMatch(/^hosts = shopbox$/m)
  writeFileSync(config, 'Host one\nHost two\n')
  const several = init('aliases', projects['Node'] ?? {}, { target: 'vps' })
  expect(several.said).toContain('your ~/.ssh/config has one, two')
  rmSync(config)
})

test('--templates copies them all, to be changed', () => {
  const { dir } = init('templates', projects['Node'] ?? {}, { target: 'vps', templates: true })
  const shipped = readdirSync(join(repository, 'templates')).filter((name) => name.endsWith('.eta'))
  expect(readdirSync(join(dir, 'templates')).sort()).toEqual(['README.md', ...shipped].sort())
})
