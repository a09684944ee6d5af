/**
 * What README.md says of one's own VPS, done to the letter in somebody's project: the lines of its blocks are run as
 * they stand, within five minutes. The package is installed from the tarball that `npm pack` makes; only the lines that
 * need a host other than the sandbox are left out.
 */
import { execFile } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Built, buildSlipway } from '../../built.ts'
import { blocksOf } from '../../unit/docs/blocks.ts'

/** Somebody's app: a Procfile and one file of Python. */
const server = `import http.server, os

class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'hello from a project of my own'
        self.send_response(200)
        self.send_header('X-Release', os.environ['SLIPWAY_RELEASE'] + '/' + os.environ['SLIPWAY_VERSION'])
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Hello).serve_forever()
`

let built: Built
let base: string
let project: string

beforeAll(async () => {
  built = await buildSlipway()
  base = mkdtempSync(join(tmpdir(), 'slipway-readme-'))
  project = join(base, 'hello')
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{ "name": "hello", "private": true }\n')
  writeFileSync(join(project, 'Procfile'), 'web: python3 server.py\n')
  writeFileSync(join(project, 'server.py'), server)
}, 120_000)

afterAll(async () => {
  await type('npx slipway sandbox reset').catch(() => {})
  await type('npx slipway sandbox down').catch(() => {})
  rmSync(base, { recursive: true, force: true })
  built.remove()
}, 60_000)

test('goes from the packed tarball to a staging deployment in the sandbox', { timeout: 300_000 }, async () => {
  const lines = linesUnder('## Your own VPS, in five minutes')
  expect(lines).toContain('npx slipway init --host deploy@pony.example.org')
  const tarball = join(base, (await type(`npm pack --ignore-scripts --pack-destination ${base}`, built.root)).trim())
  const install = lines.find((line) => line.startsWith('npm install'))
  expect(install).toBe('npm install --save-dev slipway')
  await type(`${install?.replace(/slipway$/, tarball)} --prefer-offline --no-audit --no-fund`)
  const here = lines.filter((line) => !line.startsWith('npm ') && (/slipway/.test(line) || /--sandbox/.test(line)))
  expect(here.length).toBeGreaterThanOrEqual(3)

  // `init` can't know a free port; the README says to look at the configuration.
  const port = await freePort()
  for (const line of here) {
    await type(line)
    if (line.includes('slipway init')) replaceIn('config/deploy.ini', /^listen = .*$/m, `listen = port ${port}`)
  }
  const first = await front()
  expect(first.body).toBe('hello from a project of my own')

  appendFileSync(join(project, 'server.py'), '\n# changed\n')
  await type('npx tasks --sandbox')
  const second = await front()
  expect(second.body).toBe(first.body)
  expect(second.release).not.toBe(first.release)
})

test('finds nothing to put right in what it has made', { timeout: 120_000 }, async () => {
  const { ok, findings } = JSON.parse(await type('npx slipway doctor --sandbox --json')) as {
    ok: boolean
    findings: { area: string; state: string; text: string; fix?: string }[]
  }
  expect(findings.filter(({ state }) => state === 'failure')).toEqual([])
  expect(ok).toBe(true)
  const text = findings.map((each) => `${each.area}: ${each.text}`).join('\n')
  expect(text).toMatch(/deploy@pony\.example\.org: ssh configuration: .*@127\.0\.0\.1, port \d+/)
  expect(text).toMatch(/deploy@pony\.example\.org: port \d+ opens, in \d+ ms/)
  expect(text).toMatch(/deploy@pony\.example\.org: host key known, signed in as/)
  expect(text).toMatch(/: supervisord \d+\.\d+/)
  expect(text).toMatch(/: nginx runs/)
  expect(text).toMatch(/staging: port \d+ is its own/)
  expect(text).toMatch(/staging: supervisor: app-[ab] running/)
  expect(text).toMatch(/staging: web server: staging\.hello\.example\.org is answered by it/)
  expect(text).toContain('production: nothing is deployed yet')
})

test('says what is wrong, and what to do about it, when something is', { timeout: 120_000 }, async () => {
  const port = /^listen = port (\d+)$/m.exec(readFileSync(join(project, 'config/deploy.ini'), 'utf8'))?.[1]
  await type('npx tasks --sandbox stop_app:release=staging')
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(Number(port), '127.0.0.1', resolve))
  try {
    const failed = await type('npx slipway doctor --sandbox').catch((error: Error) => error.message)
    expect(failed).toContain('! supervisor: the app server does not run\n      → tasks start_app:release=staging')
    expect(failed).toMatch(new RegExp(`✗ port ${port} on deploy@pony\\.example\\.org is taken by something else\n +→ `))
  } finally {
    holder.close()
  }
})

/** Commands in the bash blocks between a heading and the next. */
function linesUnder(heading: string): string[] {
  const readme = readFileSync(join(import.meta.dirname, '../../../README.md'), 'utf8')
  const section = readme.split(`${heading}\n`)[1]!.split('\n## ')[0]!
  return blocksOf('README.md', section)
    .filter(({ language }) => language === 'bash')
    .flatMap(({ text }) => text.split('\n'))
    .filter((line) => line !== '')
}

/** Runs a line as typed at a shell in the project; resolves with stdout, rejects with everything that was said. */
function type(line: string, cwd = project): Promise<string> {
  const { PATH = '' } = process.env
  const env = { PATH, HOME: base, XDG_CACHE_HOME: join(base, 'cache'), USER: process.env['USER'] }
  return new Promise((resolve, reject) => {
    execFile('bash', ['-c', line], { cwd, env }, (error, stdout, stderr) =>
      error ? reject(new Error(`${line}: ${error.message}\n${stdout}\n${stderr}`)) : resolve(stdout),
    )
  })
}

/** The site's front page, asked of the sandbox's web server as a browser would. */
async function front(): Promise<{ body: string; release: string | undefined }> {
  const { httpPort, sites } = JSON.parse(await type('npx slipway sandbox status --json'))
  return new Promise((resolve, reject) => {
    const headers = { host: sites[0].domain }
    request({ host: '127.0.0.1', port: httpPort, headers, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      response.on('end', () => resolve({ body, release: response.headers['x-release'] as string | undefined }))
    })
      .on('error', reject)
      .end()
  })
}

function replaceIn(file: string, pattern: RegExp, replacement: string): void {
  const path = join(project, file)
  const text = readFileSync(path, 'utf8')
  expect(text).toMatch(pattern)
  writeFileSync(path, text.replace(pattern, replacement))
}

async function freePort(): Promise<number> {
  const { freePort: find } = await import('../../../src/sandbox/ports.ts')
  return find('127.0.0.1')
}
