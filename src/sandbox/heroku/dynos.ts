/** Dynos: real processes, each in a copy of the slug, with the app's variables, their output in the app's log. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { cp, mkdir, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from '../ports.ts'
import { ApiError } from './http.ts'
import { log } from './logs.ts'
import { type App, addonConfig, currentRelease, type Dyno, type Release } from './state.ts'
import { background, findApp, type World } from './world.ts'

export interface DynoRequest {
  name: string
  type: string
  command: string
  release: Release
  size?: string
  managed?: boolean
  env?: Record<string, string>
  attach?: boolean
  tty?: boolean
  /** Where output goes besides the log. */
  output?: (chunk: Buffer) => void
  /** Seconds after which the platform ends it. */
  timeToLive?: number
}

export function startDyno(world: World, app: App, request: DynoRequest): Dyno {
  const at = world.faults.timestamp()
  const dyno: Dyno = {
    id: randomUUID(),
    name: request.name,
    type: request.type,
    command: request.command,
    size: request.size ?? 'Basic',
    state: 'starting',
    release: request.release,
    port: 0,
    attachUrl: null,
    createdAt: at,
    updatedAt: at,
    managed: request.managed ?? false,
    stopping: false,
    connecting: 0,
    exited: Promise.resolve(0),
  }
  app.dynos.push(dyno)
  log(world, app, 'heroku', dyno.name, `Starting process with command \`${dyno.command}\``)
  if (request.attach) {
    dyno.attachUrl = world.rendezvous.offer(async (socket) => {
      const child = await launch(world, app, dyno, request)
      const plain = !request.tty
      child.stdout?.on('data', (chunk: Buffer) => socket.write(chunk))
      child.stderr?.on('data', (chunk: Buffer) => socket.write(chunk))
      socket.on('data', (chunk: Buffer) => {
        const end = plain ? chunk.indexOf(4) : -1
        child.stdin?.write(end < 0 ? chunk : chunk.subarray(0, end))
        if (end >= 0) child.stdin?.end()
      })
      child.stdin?.on('error', () => undefined)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        if (!dyno.stopping) background(world, () => stopDyno(world, app, dyno))
      })
      await dyno.exited
      socket.end()
    })
    return dyno
  }
  dyno.exited = launch(world, app, dyno, request).then(() => dyno.exited)
  return dyno
}

async function launch(world: World, app: App, dyno: Dyno, request: DynoRequest): Promise<ChildProcess> {
  const home = join(world.dir, 'dynos', dyno.id)
  await mkdir(home, { recursive: true })
  if (dyno.release.slug) await cp(dyno.release.slug.dir, home, { recursive: true, verbatimSymlinks: true })
  dyno.dir = home
  dyno.port = await freePort()
  const crash = dyno.managed && world.faults.on.crashDynos.has(dyno.type)
  const command = crash ? 'echo "cannot start: configured to crash" >&2; exit 1' : dyno.command
  // Attached, both outputs are one stream, in the order in which they were written.
  const [file, args] = request.tty
    ? ['script', ['-qfec', command, '/dev/null']]
    : ['/bin/bash', ['-c', request.attach ? `exec 2>&1\n${command}` : command]]
  const child = spawn(file as string, args as string[], {
    cwd: home,
    detached: true,
    stdio: [request.attach ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    env: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      HOME: home,
      LANG: 'C.UTF-8',
      PYTHONUNBUFFERED: '1',
      // How the sandbox finds what a killed emulator leaves.
      ...(process.env['SLIPWAY_SANDBOX'] ? { SLIPWAY_SANDBOX: process.env['SLIPWAY_SANDBOX'] } : {}),
      ...dyno.release.config,
      ...addonConfig(world.state, app),
      ...request.env,
      PORT: String(dyno.port),
      DYNO: dyno.name,
      ...(app.features.has('runtime-dyno-metadata')
        ? { HEROKU_APP_NAME: app.name, HEROKU_RELEASE_VERSION: `v${dyno.release.version}` }
        : {}),
    },
  })
  dyno.process = child
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue
    if (request.output) stream.on('data', request.output)
    if (!request.attach) {
      createInterface({ input: stream }).on('line', (line) => log(world, app, 'app', dyno.name, line))
    }
  }
  dyno.exited = new Promise<number>((resolve) => {
    child.on('close', (code, signal) => {
      const status = code ?? (signal ? 128 + (signal === 'SIGKILL' ? 9 : 15) : 1)
      finished(world, app, dyno, status)
      resolve(status)
    })
    child.on('error', () => resolve(127))
  })
  if (dyno.type === 'web') background(world, () => bound(world, app, dyno))
  else setState(world, app, dyno, 'up')
  if (request.timeToLive) {
    const timer = setTimeout(() => background(world, () => stopDyno(world, app, dyno)), request.timeToLive * 1000)
    void dyno.exited.then(() => clearTimeout(timer))
  }
  return child
}

/** A web dyno is up once it listens; after 60 s without, the platform ends it (R10). */
async function bound(world: World, app: App, dyno: Dyno): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!dyno.stopping && dyno.state === 'starting' && !world.closing) {
    if (await listens(dyno.port)) return setState(world, app, dyno, 'up')
    if (Date.now() > deadline) {
      log(world, app, 'heroku', dyno.name, 'Error R10 (Boot timeout) -> Web process failed to bind to $PORT')
      signal(dyno, 'SIGKILL')
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function finished(world: World, app: App, dyno: Dyno, status: number): void {
  log(world, app, 'heroku', dyno.name, `Process exited with status ${status}`)
  if (dyno.managed && !dyno.stopping) {
    setState(world, app, dyno, 'crashed')
  } else {
    app.dynos = app.dynos.filter((each) => each !== dyno)
    app.logEvents.emit('dynos')
  }
  if (dyno.dir) background(world, () => rm(dyno.dir!, { recursive: true, force: true }))
}

function setState(world: World, app: App, dyno: Dyno, state: Dyno['state']): void {
  log(world, app, 'heroku', dyno.name, `State changed from ${dyno.state} to ${state}`)
  dyno.state = state
  dyno.updatedAt = world.faults.timestamp()
  app.logEvents.emit('dynos')
}

function signal(dyno: Dyno, name: NodeJS.Signals): void {
  const pid = dyno.process?.pid
  if (pid === undefined) return
  try {
    process.kill(-pid, name)
  } catch {
    // It is gone already.
  }
}

/** SIGTERM, and SIGKILL after 30 s, as on the platform. */
export async function stopDyno(world: World, app: App, dyno: Dyno): Promise<void> {
  if (dyno.stopping) return void (await dyno.exited)
  dyno.stopping = true
  if (dyno.state === 'crashed' || !dyno.process) {
    app.dynos = app.dynos.filter((each) => each !== dyno)
    app.logEvents.emit('dynos')
    if (dyno.attachUrl) return
  }
  // The router sends it nothing more; what is on its way has to be there before the app stops listening.
  const arrived = Date.now() + 2000
  while (dyno.connecting > 0 && Date.now() < arrived) await new Promise((resolve) => setTimeout(resolve, 5))
  log(world, app, 'heroku', dyno.name, 'Stopping all processes with SIGTERM')
  signal(dyno, 'SIGTERM')
  const timer = setTimeout(() => {
    log(world, app, 'heroku', dyno.name, 'Error R12 (Exit timeout) -> Process failed to exit within 30 seconds')
    signal(dyno, 'SIGKILL')
  }, 30_000)
  await dyno.exited
  clearTimeout(timer)
}

/** Makes the managed dynos those of the formation at the current release. `restart` replaces all of a type. */
export function reconcile(world: World, app: App, restart?: (dyno: Dyno) => boolean): void {
  const release = currentRelease(app)
  for (const dyno of app.dynos.filter((each) => each.managed && !each.stopping)) {
    const formation = app.formation.get(dyno.type)
    const index = Number(dyno.name.split('.')[1])
    const wanted = formation !== undefined && index <= formation.quantity
    if (!wanted || dyno.release !== release || restart?.(dyno)) background(world, () => stopDyno(world, app, dyno))
  }
  if (!release?.slug) return
  for (const formation of app.formation.values()) {
    for (let index = 1; index <= formation.quantity; index += 1) {
      const name = `${formation.type}.${index}`
      if (app.dynos.some((each) => each.name === name && !each.stopping)) continue
      startDyno(world, app, {
        name,
        type: formation.type,
        command: formation.command,
        release,
        size: formation.size,
        managed: true,
      })
    }
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

export function dynoRoutes(world: World): void {
  const { api } = world
  const show = (app: App, dyno: Dyno): unknown => ({
    id: dyno.id,
    name: dyno.name,
    type: dyno.type,
    command: dyno.command,
    size: dyno.size,
    state: dyno.state,
    attach_url: dyno.attachUrl,
    release: { id: dyno.release.id, version: dyno.release.version },
    app: { id: app.id, name: app.name },
    created_at: dyno.createdAt,
    updated_at: dyno.updatedAt,
  })
  const one = (app: App, identity: string): Dyno => {
    const dyno = app.dynos.find((each) => (each.id === identity || each.name === identity) && !each.stopping)
    if (!dyno) throw new ApiError(404, 'not_found', "Couldn't find that process.", { resource: 'dyno' })
    return dyno
  }

  api.route('GET', '/apps/:app/dynos', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: app.dynos.filter((each) => !each.stopping).map((dyno) => show(app, dyno)) }
  })
  api.route('GET', '/apps/:app/dynos/:dyno', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: show(app, one(app, params['dyno']!)) }
  })
  api.route('POST', '/apps/:app/dynos', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    const release = currentRelease(app)
    if (!release?.slug) throw new ApiError(422, 'invalid_params', 'The app has no code yet. Deploy it first.')
    if (typeof body.command !== 'string') throw new ApiError(422, 'invalid_params', 'command is required')
    if (app.dynos.length >= world.faults.on.dynoQuota) {
      throw new ApiError(422, 'invalid_params', `Cannot run more than ${world.faults.on.dynoQuota} processes.`)
    }
    const type = typeof body.type === 'string' && body.type !== '' ? body.type : 'run'
    // A word that names a process type of the Procfile runs that command.
    const [word, ...rest] = body.command.split(' ')
    const known = release.slug.processTypes[word]
    const dyno = startDyno(world, app, {
      name: `${type}.${1000 + (app.nextDyno++ % 9000) + randomBytes(1)[0]!}`,
      type,
      command: known ? [known, ...rest].join(' ') : body.command,
      release,
      size: body.size,
      env: body.env ?? {},
      attach: body.attach === true,
      tty: body.attach === true && body.force_no_tty !== true,
      timeToLive: body.time_to_live,
    })
    return { status: 201, body: show(app, dyno) }
  })
  const restart = (app: App, which: (dyno: Dyno) => boolean): { status: number; body: unknown } => {
    reconcile(world, app, which)
    for (const dyno of app.dynos.filter((each) => !each.managed && which(each))) {
      background(world, () => stopDyno(world, app, dyno))
    }
    return { status: 202, body: {} }
  }
  api.route('DELETE', '/apps/:app/dynos', ({ params }) => restart(findApp(world, params['app']!), (d) => d.managed))
  api.route('DELETE', '/apps/:app/dynos/:dyno', ({ params }) => {
    const app = findApp(world, params['app']!)
    const dyno = one(app, params['dyno']!)
    return restart(app, (each) => each === dyno)
  })
  api.route('DELETE', '/apps/:app/formations/:type', ({ params }) => {
    const app = findApp(world, params['app']!)
    if (!app.formation.has(params['type']!)) {
      throw new ApiError(404, 'not_found', "Couldn't find that process type.", { resource: 'formation' })
    }
    return restart(app, (each) => each.managed && each.type === params['type'])
  })
  api.route('POST', '/apps/:app/dynos/:dyno/actions/stop', ({ params }) => {
    const app = findApp(world, params['app']!)
    const dyno = one(app, params['dyno']!)
    return restart(app, (each) => each === dyno)
  })
  api.route('POST', '/apps/:app/formations/:type/actions/stop', ({ params }) =>
    restart(findApp(world, params['app']!), (each) => each.type === params['type']),
  )
}
