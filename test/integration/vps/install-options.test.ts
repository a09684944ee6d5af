/** What an install makes of the settings of a deployment: shared paths, what stays here, what the host put there. */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, createProject, type Project } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
  project.configure((text) =>
    text
      .replace('drain = 10s', 'drain = 10s\nexclude = notes/, *.psd\nremove = myapp, development.ini')
      .replace(
        '[staging]\n',
        '[app.shared]\nsite/banner.txt = seed\nsite/local.py = template\nmedia = directory\n\n[app.links]\npony = pony\n\n[staging]\n',
      ),
  )
  const files = {
    'site/banner.txt': 'as it was delivered',
    'site/local.py.template': 'place = "here"\n',
    'notes/todo.txt': 'ours',
    'logo.psd': 'large',
    'draft.html': 'ignored',
    '.slipwayignore': '# drafts\ndraft.*\n',
  }
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(project.dir, 'app', name, '..'), { recursive: true })
    writeFileSync(join(project.dir, 'app', name), text)
  }
  // What a control panel makes of a new application.
  mkdirSync(join(project.release, 'myapp'), { recursive: true })
  writeFileSync(join(project.release, 'myapp/wsgi.py'), 'hello')
  writeFileSync(join(project.release, 'development.ini'), 'hello')
  await install()
}, 60_000)
afterAll(() => project.stop())

async function install(options: { fresh?: boolean; allowDirty?: boolean } = {}): Promise<void> {
  await project.run(async (staging) => {
    await staging.upload(options)
    await staging.install(options)
  })
}
const inVersion = (path: string) => join(project.release, 'current', path)
const inShared = (path: string) => join(project.release, 'shared', path)

test('what is left out stays here; the template of the host is gone; links lead into the current version', () => {
  for (const name of ['notes', 'logo.psd', 'draft.html', '.slipwayignore'])
    expect(existsSync(inVersion(name))).toBe(false)
  expect(existsSync(inVersion('pony/web.py'))).toBe(true)
  for (const name of ['myapp', 'development.ini']) expect(existsSync(join(project.release, name))).toBe(false)
  expect(readlinkSync(join(project.release, 'pony'))).toBe('current/pony')
})

test('a seed and a template come from the first version that has them, and are the host’s from then on', async () => {
  expect(readFileSync(inShared('site/banner.txt'), 'utf8')).toBe('as it was delivered')
  expect(readFileSync(inShared('site/local.py'), 'utf8')).toBe('place = "here"\n')
  expect(lstatSync(inShared('media')).isDirectory()).toBe(true)
  for (const name of ['site/banner.txt', 'site/local.py', 'media'])
    expect(readlinkSync(inVersion(name))).toBe(inShared(name))
  writeFileSync(inShared('site/banner.txt'), 'changed by its editors')
  project.edit('app/site/banner.txt', () => 'another one is delivered')
  project.edit('app/site/local.py.template', () => 'place = "elsewhere"\n')
  await install()
  expect(readFileSync(inVersion('site/banner.txt'), 'utf8')).toBe('changed by its editors')
  expect(readFileSync(inVersion('site/local.py'), 'utf8')).toBe('place = "here"\n')
}, 30_000)

test('a fresh install has an environment of its own, even where one came along', async () => {
  project.configure((text) =>
    text.replace('drain = 10s', 'drain = 10s\ninstall = mkdir -p .venv\n  echo "$SLIPWAY_VERSION" >>.venv/made'),
  )
  const made = () => readFileSync(inVersion('.venv/made'), 'utf8').trim().split('\n')
  await install()
  expect(made()).toHaveLength(1)
  // The same version once more: what it has is kept, unless it is to be made anew.
  await project.run((staging) => staging.install())
  expect(made()).toHaveLength(2)
  await project.run((staging) => staging.install({ fresh: true }))
  expect(made()).toHaveLength(1)
  project.configure((text) => text.replace(/install = mkdir.*\n.*\n/, ''))
}, 30_000)

test('changes that are not committed are deployed where that is allowed', async () => {
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], { cwd: project.dir })
  git('init', '-q', '-b', 'main')
  git('add', 'app')
  git('commit', '-qm', 'one')
  project.configure((text) => text.replace('release = r2', 'release = r2\nbranch = main'))
  project.edit('app/pony/pages.py', (text) => `${text}# not committed\n`)
  await expect(install()).rejects.toMatchObject({ code: 'dirty-tree' })
  await install({ allowDirty: true })
  expect(readFileSync(inVersion('pony/pages.py'), 'utf8')).toContain('# not committed')
  const { value: versions } = await project.run((staging) => staging.versions())
  expect(versions[0]).toMatchObject({
    by: expect.stringMatching(/.@./),
    at: expect.stringMatching(/^\d{4}-/),
  })
  rmSync(join(project.dir, '.git'), { recursive: true })
  project.configure((text) => text.replace('\nbranch = main', ''))
}, 30_000)

test('well is what answers the configured status with the configured text, and the message has what came in place of it', async () => {
  project.configure((text) => text.replace('health_deadline = 15s', 'health_deadline = 1s\nhealth_body = all is well'))
  await project.run((staging) => staging.database.init())
  await expect(project.run((staging) => staging.server.start())).rejects.toMatchObject({
    code: 'unhealthy',
    message: expect.stringMatching(/after 1 s: \/up answered without "all is well": \S/),
    detail: expect.stringContaining('listens on'),
    next: expect.stringMatching(/tail_app_log:release=staging.*exec python3 -m pony\.web$/),
  })
  project.configure((text) => text.replace('health_body = all is well', 'health = /no-such-page\nhealth_status = 404'))
  await install()
  await project.run((staging) => staging.server.start())
  expect((await ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/no-such-page')).status).toBe(404)
}, 60_000)

test('all logs are followed together, each line with the name of its source', async () => {
  const seen: Record<string, string | undefined> = {}
  await project.run(async (staging) => {
    let written = false
    for await (const { source, text } of staging.logs({ follow: true, lines: 1 })) {
      if (!written) {
        appendFileSync(join(project.release, 'logs/app.out'), 'of the app\n')
        appendFileSync(join(project.release, 'logs/mailer.out'), 'of the worker\n')
        written = true
      }
      if (text.startsWith('of the ')) seen[text] = source
      if (Object.keys(seen).length === 2) break
    }
  })
  expect(seen).toEqual({ 'of the app': 'app', 'of the worker': 'mailer' })
}, 30_000)
