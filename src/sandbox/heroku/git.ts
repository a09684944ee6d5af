/**
 * The platform's git: smart HTTP by git's own http-backend. What is pushed to main or master is built while the push
 * waits, in a pre-receive hook: its output is the remote's, and a build that fails refuses the push.
 */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { access, chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { tokenOf } from './account.ts'
import { startBuild } from './builds.ts'
import { ApiError, type Call, type Reply } from './http.ts'
import type { App } from './state.ts'
import { background, findApp, type World } from './world.ts'

/** Sends the pushed commit's tree to the emulator, prints what comes back, and ends with the status on its last line. */
const hook = `#!${process.execPath}
const { spawn } = require('node:child_process')
const { request } = require('node:http')
const lines = require('node:fs').readFileSync(0, 'utf8').split('\\n').filter(Boolean)
const pushed = lines.map((line) => line.split(' ')).filter(([, commit]) => !/^0+$/.test(commit))
const main = pushed.find(([, , ref]) => ref === 'refs/heads/main' || ref === 'refs/heads/master')
if (!main) {
  console.log('Pushed to non-main branch, skipping build.')
  process.exit(0)
}
const archive = spawn('git', ['archive', '--format=tar.gz', main[1]], { stdio: ['ignore', 'pipe', 'inherit'] })
const call = request(process.env.EMULATOR_BUILD_URL + '?commit=' + main[1], { method: 'POST' }, (answer) => {
  let last = ''
  answer.setEncoding('utf8')
  answer.on('data', (text) => {
    const lines = (last + text).split('\\n')
    last = lines.pop()
    for (const line of lines) process.stdout.write(line + '\\n')
  })
  answer.on('end', () => process.exit(answer.statusCode === 200 && last === 'succeeded' ? 0 : 1))
  answer.on('error', () => process.exit(1))
})
call.on('error', (error) => { console.error(error.message); process.exit(1) })
archive.stdout.pipe(call)
`

export function gitRoutes(world: World): void {
  const { api } = world
  /** Pushes that are under way, by a name that only their hook knows. */
  const pushes = new Map<string, App>()

  const authorized = ({ request, response }: Call): boolean => {
    if (world.state.tokens.has(tokenOf(String(request.headers['authorization'] ?? '')) ?? '')) return true
    response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="Heroku"' }).end('Invalid credentials provided.\n')
    return false
  }

  const serve = async (call: Call): Promise<Reply | undefined> => {
    if (!authorized(call)) return undefined
    const app = findApp(world, call.params['repository']!.replace(/\.git$/, ''))
    const root = await repository(world, app)
    const push = randomUUID()
    pushes.set(push, app)
    try {
      await backend(world, call, root, app, `${world.url}/_pushes/${push}`)
    } finally {
      pushes.delete(push)
    }
    return undefined
  }
  api.route('GET', '/_git/:repository/info/refs', serve, { open: true })
  api.route('POST', '/_git/:repository/git-receive-pack', serve, { open: true })
  api.route('POST', '/_git/:repository/git-upload-pack', serve, { open: true })

  api.route(
    'POST',
    '/_pushes/:push',
    ({ params, query, raw, response }) => {
      const app = pushes.get(params['push']!)
      if (!app) throw new ApiError(404, 'not_found', 'no such push')
      const id = randomUUID()
      world.state.sources.set(id, raw)
      const made = startBuild(world, app, { url: `${world.url}/_sources/${id}`, version: query.get('commit') })
      response.writeHead(200, { 'Content-Type': 'text/plain' })
      let at = 0
      background(
        world,
        () =>
          new Promise<void>((resolve) => {
            const send = (): void => {
              const chunk = made.stream.text.subarray(at)
              at += chunk.length
              if (chunk.length > 0) response.write(chunk)
              if (!made.stream.ended) return
              made.stream.off('data', send)
              response.end(`\nVerifying deploy... done.\n${made.status}`)
              resolve()
            }
            made.stream.on('data', send)
            response.on('close', () => {
              // The push was interrupted; as on the platform, the build goes on.
              made.stream.off('data', send)
              resolve()
            })
            send()
          }),
      )
      return undefined
    },
    { open: true },
  )
}

async function repository(world: World, app: App): Promise<string> {
  const dir = join(world.dir, 'git', app.id)
  const there = await access(join(dir, 'hooks/pre-receive')).then(
    () => true,
    () => false,
  )
  if (there) return dir
  await mkdir(dir, { recursive: true })
  await new Promise<void>((resolve, reject) => {
    const child = spawn('git', ['init', '-q', '--bare', '-b', 'main', dir], { stdio: 'ignore', env: plainGit(world) })
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`git init ended with ${code}`))))
  })
  await mkdir(join(dir, 'hooks'), { recursive: true })
  await writeFile(join(dir, 'hooks/pre-receive'), hook)
  await chmod(join(dir, 'hooks/pre-receive'), 0o755)
  return dir
}

/** No configuration but the repository's own. */
const plainGit = (world: World): Record<string, string> => ({
  PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
  HOME: world.dir,
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_COUNT: '3',
  GIT_CONFIG_KEY_0: 'http.receivepack',
  GIT_CONFIG_VALUE_0: 'true',
  GIT_CONFIG_KEY_1: 'safe.directory',
  GIT_CONFIG_VALUE_1: '*',
  GIT_CONFIG_KEY_2: 'receive.advertisePushOptions',
  GIT_CONFIG_VALUE_2: 'false',
})

/** One request through `git http-backend`, a CGI program. */
async function backend(world: World, call: Call, root: string, app: App, buildUrl: string): Promise<void> {
  const { request, response, method, path, query } = call
  const zipped = request.headers['content-encoding'] === 'gzip'
  const body = zipped ? gunzipSync(call.raw) : call.raw
  const child = spawn('git', ['http-backend'], {
    env: {
      ...plainGit(world),
      ...(process.env['SLIPWAY_SANDBOX'] ? { SLIPWAY_SANDBOX: process.env['SLIPWAY_SANDBOX'] } : {}),
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      REMOTE_USER: world.state.account.email,
      REQUEST_METHOD: method,
      PATH_INFO: path.replace(/^\/_git\/[^/]+/, ''),
      QUERY_STRING: query.toString(),
      CONTENT_TYPE: String(request.headers['content-type'] ?? ''),
      CONTENT_LENGTH: String(body.length),
      ...(request.headers['git-protocol'] ? { GIT_PROTOCOL: String(request.headers['git-protocol']) } : {}),
      EMULATOR_BUILD_URL: buildUrl,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.on('error', () => undefined)
  child.stdin.end(body)
  let head = Buffer.alloc(0)
  let begun = false
  let sent = 0
  child.stdout.on('data', (chunk: Buffer) => {
    let rest = chunk
    if (!begun) {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      begun = true
      const fields = head
        .subarray(0, end)
        .toString('latin1')
        .split('\r\n')
        .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()] as const)
      const status = Number(fields.find(([name]) => /^status$/i.test(name))?.[1].slice(0, 3) ?? 200)
      response.writeHead(status, Object.fromEntries(fields.filter(([name]) => !/^status$/i.test(name))))
      rest = head.subarray(end + 4)
    }
    const cut = method === 'POST' ? world.faults.on.cutPushesAfter : undefined
    if (cut !== undefined && sent + rest.length > cut) {
      world.faults.on.cutPushesAfter = undefined
      response.write(rest.subarray(0, cut - sent), () => response.destroy())
      return
    }
    sent += rest.length
    response.write(rest)
  })
  await new Promise<void>((resolve) => {
    child.on('error', () => resolve())
    child.on('close', () => resolve())
  })
  if (!begun && !response.headersSent) response.writeHead(500)
  response.end()
  if (app.builds.length > 0) app.updatedAt = world.faults.timestamp()
}
