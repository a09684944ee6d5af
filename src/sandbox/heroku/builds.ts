/** Sources and builds: an uploaded tarball is unpacked, its buildpack really runs, and what comes out is a slug. */
import { execFile, spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ApiError } from './http.ts'
import { log } from './logs.ts'
import { release } from './releases.ts'
import { type App, type Build, fullConfig, type Slug } from './state.ts'
import { background, findApp, newStream, streamUrl, type World } from './world.ts'

const run = promisify(execFile)
const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

const cacheDir = (world: World, app: App): string => join(world.dir, 'build-cache', app.id)

async function build(world: World, app: App, made: Build): Promise<void> {
  const say = (text: string): void => made.stream.write(`${text}\n`)
  const end = (status: 'succeeded' | 'failed'): void => {
    made.status = status
    made.updatedAt = world.faults.timestamp()
    made.stream.end()
  }
  log(world, app, 'app', 'api', `Build started by user ${world.state.account.email}`)
  const dir = join(world.dir, 'slugs', made.id)
  try {
    await mkdir(dir, { recursive: true })
    const bytes = await fetchSource(world, made.sourceUrl)
    if (made.checksum) {
      const sum = `SHA256:${createHash('sha256').update(bytes).digest('hex')}`
      if (sum !== made.checksum) throw new BuildFailure(`source checksum does not match: ${sum}`)
    }
    await writeFile(`${dir}.tgz`, bytes)
    await run('tar', ['-xzf', `${dir}.tgz`, '-C', dir, '--no-same-owner'])
    say(`-----> Building on the ${app.stack.replace('heroku', 'Heroku')} stack`)
    const processTypes = await compile(world, app, made, dir, say)
    if (world.faults.on.failBuild) throw new BuildFailure('compile step: configured to fail')
    say('-----> Discovering process types')
    say(`       Procfile declares types -> ${Object.keys(processTypes).join(', ')}`)
    const { stdout } = await run('du', ['-sb', dir])
    const slug: Slug = {
      id: randomUUID(),
      dir,
      processTypes,
      commit: made.version,
      size: Number(stdout.split('\t')[0]),
      createdAt: world.faults.timestamp(),
    }
    world.state.slugs.set(slug.id, slug)
    made.slug = slug
    say('-----> Compressing...')
    say(`       Done: ${Math.ceil(slug.size / 1024)}K`)
    say('-----> Launching...')
    const made2 = release(world, app, { description: `Deploy ${(made.version ?? made.id).slice(0, 8)}`, slug })
    made.release = made2.release
    say(`       Released v${made2.release.version}`)
    say(`       http://127.0.0.1:${app.port}/ deployed to Heroku`)
    end('succeeded')
    log(world, app, 'app', 'api', 'Build succeeded')
  } catch (error) {
    if (world.closing) return
    say(` !     ${made.canceled ? 'Build canceled' : error instanceof Error ? error.message : String(error)}`)
    say(' !     Push failed')
    end('failed')
    log(world, app, 'app', 'api', 'Build failed -- check your build logs')
    await rm(dir, { recursive: true, force: true })
  } finally {
    await rm(`${dir}.tgz`, { force: true })
  }
}

class BuildFailure extends Error {}

async function fetchSource(world: World, url: string): Promise<Buffer> {
  const id = /\/_sources\/([^/?]+)/.exec(url)?.[1]
  if (id) {
    const bytes = world.state.sources.get(id)
    if (!bytes) throw new BuildFailure('Unable to fetch source code from the source URL')
    return bytes
  }
  const answer = await fetch(url)
  if (!answer.ok) throw new BuildFailure(`Unable to fetch source code from the source URL: ${answer.status}`)
  return Buffer.from(await answer.arrayBuffer())
}

async function compile(
  world: World,
  app: App,
  made: Build,
  dir: string,
  say: (text: string) => void,
): Promise<Record<string, string>> {
  const cache = cacheDir(world, app)
  const cached = await exists(cache)
  await mkdir(cache, { recursive: true })
  const python =
    (await exists(join(dir, 'requirements.txt'))) ||
    (await exists(join(dir, 'setup.py'))) ||
    (await exists(join(dir, 'pyproject.toml'))) ||
    (await exists(join(dir, '.python-version')))
  const node = await exists(join(dir, 'package.json'))
  const procfile = await readFile(join(dir, 'Procfile'), 'utf8').catch(() => '')
  if (!python && !node && app.buildpacks.length === 0) {
    throw new BuildFailure('No default language could be detected for this app.')
  }
  say(`-----> ${python ? 'Python' : node ? 'Node.js' : app.buildpacks.join(', ')} app detected`)
  say(cached ? '-----> Restoring cache' : '-----> No cache: starting from scratch')
  if (python && (await exists(join(dir, 'requirements.txt')))) await requirements(dir, say)
  await writeFile(join(cache, 'last-build'), made.id)
  for (const hook of ['bin/pre_compile', 'bin/post_compile']) {
    if (!(await exists(join(dir, hook)))) continue
    say(`-----> Running ${hook} hook`)
    const status = await new Promise<number | null>((resolve) => {
      const child = spawn('/bin/bash', [hook], {
        cwd: dir,
        detached: true,
        env: {
          PATH: '/usr/local/bin:/usr/bin:/bin',
          HOME: dir,
          CACHE_DIR: cache,
          SOURCE_VERSION: made.version ?? '',
          ...fullConfig(world.state, app),
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      made.process = child
      child.stdout?.on('data', (chunk: Buffer) => made.stream.write(chunk))
      child.stderr?.on('data', (chunk: Buffer) => made.stream.write(chunk))
      child.on('close', resolve)
    })
    if (status !== 0) throw new BuildFailure(`${hook} exited with status ${status}`)
  }
  const types = Object.fromEntries(
    procfile
      .split('\n')
      .map((line) => /^([A-Za-z0-9_-]+):\s*(.+)$/.exec(line))
      .filter((match) => match !== null)
      .map((match) => [match[1]!, match[2]!]),
  )
  if (Object.keys(types).length === 0 && node) types['web'] = 'npm start'
  return types
}

/** What pip would install has to be there already: the emulator has no package index. */
async function requirements(dir: string, say: (text: string) => void): Promise<void> {
  const lines = (await readFile(join(dir, 'requirements.txt'), 'utf8')).split('\n')
  for (const line of lines) {
    const name = /^\s*([A-Za-z0-9._-]+)/.exec(line)?.[1]
    if (!name || line.trim().startsWith('#')) continue
    try {
      const { stdout } = await run('/usr/bin/python3', [
        '-c',
        'import sys, importlib.metadata as m; print(m.version(sys.argv[1]))',
        name,
      ])
      say(`       Requirement already satisfied: ${name} ${stdout.trim()}`)
    } catch {
      throw new BuildFailure(`ERROR: No matching distribution found for ${line.trim()}`)
    }
  }
}

export interface SourceBlob {
  url: string
  version?: string | null
  checksum?: string | null
  buildpacks?: Build['buildpacks']
}

/** Begins a build; its output is its stream's. */
export function startBuild(world: World, app: App, source: SourceBlob): Build {
  if (app.buildStack === 'container') {
    throw new ApiError(422, 'invalid_params', 'Builds from a tarball need a heroku.yml on the container stack.')
  }
  const at = world.faults.timestamp()
  const made: Build = {
    id: randomUUID(),
    status: 'pending',
    sourceUrl: source.url,
    version: source.version ?? null,
    checksum: source.checksum ?? null,
    stream: newStream(world),
    release: null,
    slug: null,
    buildpacks:
      source.buildpacks ??
      app.buildpacks.map((name) => (/:\/\//.test(name) ? { url: name } : { name, url: `urn:buildpack:${name}` })),
    createdAt: at,
    updatedAt: at,
  }
  app.builds.push(made)
  background(world, () => build(world, app, made))
  return made
}

export function buildRoutes(world: World): void {
  const { api, state } = world
  const source = (): { status: number; body: unknown } => {
    const id = randomUUID()
    state.sources.set(id, null)
    const url = `${world.url}/_sources/${id}`
    return { status: 201, body: { source_blob: { get_url: `${url}?signature=get`, put_url: `${url}?signature=put` } } }
  }
  api.route('POST', '/sources', source)
  api.route('POST', '/apps/:app/sources', ({ params }) => {
    findApp(world, params['app']!)
    return source()
  })
  api.route(
    'PUT',
    '/_sources/:id',
    ({ params, raw, request }) => {
      if (!state.sources.has(params['id']!)) throw new ApiError(404, 'not_found', 'no such source')
      // The signature covers an empty content type.
      if (request.headers['content-type'])
        throw new ApiError(403, 'SignatureDoesNotMatch', 'Content-Type was signed empty')
      if (!request.headers['content-length']) throw new ApiError(411, 'MissingContentLength', 'Content-Length required')
      state.sources.set(params['id']!, raw)
      return { body: undefined }
    },
    { open: true },
  )

  const show = (app: App, made: Build): unknown => ({
    id: made.id,
    app: { id: app.id },
    buildpacks: made.buildpacks,
    generation: 'cedar',
    status: made.status,
    output_stream_url: streamUrl(world, made.stream),
    source_blob: { url: made.sourceUrl, version: made.version, checksum: made.checksum, version_description: null },
    release: made.release ? { id: made.release.id } : null,
    slug: made.slug ? { id: made.slug.id } : null,
    stack: app.buildStack,
    user: { id: state.account.id, email: state.account.email },
    created_at: made.createdAt,
    updated_at: made.updatedAt,
  })
  const one = (app: App, id: string): Build => {
    const found = app.builds.find((each) => each.id === id)
    if (!found) throw new ApiError(404, 'not_found', "Couldn't find that build.", { resource: 'build' })
    return found
  }
  api.route('POST', '/apps/:app/builds', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    if (typeof body.source_blob?.url !== 'string')
      throw new ApiError(422, 'invalid_params', 'source_blob.url is required')
    const made = startBuild(world, app, { ...body.source_blob, buildpacks: body.buildpacks })
    return { status: 201, body: show(app, made) }
  })
  api.route('GET', '/apps/:app/builds', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: app.builds.map((each) => show(app, each)) }
  })
  api.route('GET', '/apps/:app/builds/:build', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: show(app, one(app, params['build']!)) }
  })
  api.route('DELETE', '/apps/:app/builds/:build', ({ params }) => {
    const app = findApp(world, params['app']!)
    const made = one(app, params['build']!)
    made.canceled = true
    if (made.process?.pid) {
      try {
        process.kill(-made.process.pid, 'SIGTERM')
      } catch {
        // It has ended already.
      }
    }
    return { body: show(app, made) }
  })
  api.route('DELETE', '/apps/:app/build-cache', async ({ params }) => {
    await rm(cacheDir(world, findApp(world, params['app']!)), { recursive: true, force: true })
    return { status: 204, body: undefined }
  })
}
