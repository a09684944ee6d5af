/** The seed's own task by its name, at whoever leads a domain to a port: there, back, and there again. */
import { spawn } from 'node:child_process'
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Built, buildSlipway, repository } from '../../built.ts'
import { startOpalstack } from '../../emulators/opalstack/index.ts'
import { startWebfaction } from '../../emulators/webfaction/index.ts'
import { standStill } from '../../faults/inject.ts'
import { around, audit, type LoadReport } from '../../faults/load.ts'
import { makeWorld, marksIn, type World, type WorldOptions } from '../../faults/world.ts'
import { type Front, startFront } from '../../servers/front.ts'
import { freePort } from '../../servers/ports.ts'
import { atTerminal } from '../../servers/terminal.ts'

let built: Built
beforeAll(async () => {
  built = await buildSlipway()
}, 60_000)
afterAll(() => built?.remove())

const domain = 'pony.example.org'
const cleanup: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const each of cleanup.splice(0).reverse()) await each()
})

interface Place {
  world: World
  /** Where the provider leads the domain. */
  leads(): string | number | undefined
  front?: Front
  /** What the provider wants to know: its name in .env, and its value. */
  credential?: [name: string, value: string]
  /** Has the provider fail at the next change. */
  fail?(): void
}

async function world(options: WorldOptions & { provider: string; domains?: string }): Promise<World> {
  const { provider, domains = '', ...rest } = options
  const port = await freePort()
  const made = await makeWorld({
    ...rest,
    initApps: true,
    ini: (text) =>
      text
        .replace('listen = socket', `listen = port ${port}`)
        .replace('provider = nginx', `provider = ${provider}\n${domains};`),
  })
  cleanup.push(() => made.remove())
  return made
}

async function front(portOf: () => number | undefined): Promise<Front> {
  const made = await startFront(portOf)
  cleanup.push(() => made.close())
  return made
}

const releaseOn = (world: World, port: number | undefined): string | undefined =>
  ['pony2026r1', 'pony2026r2'].find((name) => {
    const file = `${world.release(name)}/.slipway/port`
    return existsSync(file) && Number(readFileSync(file, 'utf8')) === port
  })

const places: Record<string, (more?: WorldOptions) => Promise<Place>> = {
  async opalstack(more) {
    const emulator = await startOpalstack()
    cleanup.push(() => emulator.close())
    emulator.add('osuser', { name: 'pony', server: 's' })
    for (const name of ['pony2026r1', 'pony2026r2']) emulator.add('app', { name, port: await freePort(), type: 'CUS' })
    const app = () => {
      const id = emulator.models['domain']?.find((each) => each.name === domain)?.id
      const site = emulator.models['site']?.find((each) => (each['domains'] as string[]).includes(id ?? ''))
      const [route] = (site?.['routes'] ?? []) as { app: string }[]
      return emulator.models['app']?.find((each) => each.id === route?.app)
    }
    const made = await world({
      ...more,
      provider: 'opalstack',
      domains: `url = ${emulator.url}\n`,
      env: `OPALSTACK_TOKEN=${emulator.token}\n`,
    })
    return {
      world: made,
      leads: () => app()?.name,
      front: await front(() => app()?.['port'] as number),
      credential: ['OPALSTACK_TOKEN', emulator.token],
      fail: () => emulator.fault('server-error', /site\/update/),
    }
  },
  async uberspace(more) {
    const made = await world({
      ...more,
      provider: 'uberspace',
      prepare: async (sandbox) => {
        const bin = `${sandbox.root}/bin`
        copyFileSync(fileURLToPath(new URL('../../emulators/uberspace/uberspace', import.meta.url)), `${bin}/uberspace`)
      },
    })
    const port = () => {
      const file = `${made.home}/.uberspace-emulator/backends`
      const line = existsSync(file) && readFileSync(file, 'utf8').match(new RegExp(`^${domain} (\\d+)$`, 'm'))
      return line ? Number(line[1]) : undefined
    }
    return { world: made, leads: () => releaseOn(made, port()), front: await front(port) }
  },
  async webfaction(more) {
    const emulator = await startWebfaction(1, {}, [await freePort(), await freePort()])
    cleanup.push(() => emulator.close())
    const made = await world({
      ...more,
      provider: 'webfaction',
      domains: `url = ${emulator.url}\nuser = u\n`,
      env: 'WEBFACTION_PASSWORD=allons-y\n',
    })
    const answer = async () =>
      (await (await fetch(`${emulator.url}leads/${domain}`)).json()) as { app: string; port: number }
    let now = await answer()
    const looking = setInterval(async () => {
      now = await answer().catch(() => now)
    }, 20)
    cleanup.push(async () => clearInterval(looking))
    return {
      world: made,
      leads: () => now.app,
      front: await front(() => now.port),
      credential: ['WEBFACTION_PASSWORD', 'allons-y'],
    }
  },
  async nginx(more) {
    const made = await world({ ...more, provider: 'nginx' })
    const port = () => {
      const conf = readFileSync(`${made.home}/.slipway/pony/sites/production/nginx.conf`, 'utf8')
      return Number(/_current \{\s*server 127\.0\.0\.1:(\d+);/.exec(conf)?.[1])
    }
    return { world: made, leads: () => releaseOn(made, port()) }
  },
}

const environment = ({ dir }: World) => ({
  PATH: process.env['PATH'],
  HOME: dir,
  XDG_CACHE_HOME: join(dir, 'cache'),
})

/** `tasks …` as it is typed, in the folder of the world. Resolves with what it told; rejects unless it ended well. */
function tasks(world: World, ...words: string[]): Promise<string> {
  const child = spawn(process.execPath, [built.tasks, '--sandbox', ...words], {
    cwd: world.dir,
    env: environment(world),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let told = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      told += text
    })
  }
  return new Promise((resolve, reject) => {
    child.on('close', (status) =>
      status === 0 ? resolve(told) : reject(new Error(`${words.join(' ')} ended with ${status}:\n${told}`)),
    )
  })
}

/** The files below these folders that hold `text`. */
const filesWith = (text: string, ...folders: string[]): string[] =>
  folders
    .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: 'utf8', withFileTypes: true }))
    .flatMap((file) => (file.isFile() ? [`${file.parentPath}/${file.name}`] : []))
    .filter((file) => readFileSync(file, 'latin1').includes(text))

/** The oldest interface in `npm test`; the others in `npm run test:long`. */
const tried = process.env['SLIPWAY_TEST_LONG'] ? Object.keys(places) : ['webfaction']

describe.each(tried)('the tasks by their names, for an app on ports at %s', (provider) => {
  it('lead the domain to the new release, back, and there again, and lose no write', {
    timeout: 300_000,
  }, async () => {
    const { world, leads, front, credential, fail } = await (places[provider] as (typeof places)[string])()
    copyFileSync(join(repository, 'tasks.ts'), join(world.dir, 'tasks.ts'))
    expect(leads()).toBe('pony2026r1')
    const reports: LoadReport[] = []
    /** While requests come; then the release that is production has every write that was ever acknowledged, once. */
    const underLoad = async (release: string, work: () => Promise<string>): Promise<string> => {
      const load = world.load({
        connections: 8,
        ...(front ? { port: front.port } : {}),
        // The stated loss: what comes in the moment when the old port changes hands.
        allow: (status, headers) => status === 502 || (status === 503 && headers['retry-after'] !== undefined),
      })
      const { client: report, value: told } = await around(load, 200, work)
      reports.push(report)
      expect(leads()).toBe(release)
      expect(world.roles()['production']).toBe(release)
      // A reload of nginx closes connections that are kept alive, and a request may be on its way on one.
      expect(report.failed.filter((each) => provider !== 'nginx' || !each.what.includes('hang up'))).toEqual([])
      expect(report.failed.length).toBeLessThanOrEqual(8)
      expect(report.allowed).toBeLessThan(report.requests / 10)
      expect(report.acknowledged.length).toBeGreaterThan(0)
      const found = marksIn(world, release)
      for (const each of reports) expect(audit(each, found)).toEqual({ missing: [], twice: [] })
      process.stdout.write(`${provider}: ${report.allowed} of ${report.requests} requests refused\n`)
      return told
    }

    if (provider === 'uberspace') {
      await underLoad('pony2026r1', async () => {
        await dies(world, 'archive-staging before', 'promote_staging_to_production')
        return tasks(world, '--yes', 'promote_staging_to_production', '--undo')
      })
      expect(world.roles()).toEqual({ production: 'pony2026r1', staging: 'pony2026r2' })
    }
    const told = await underLoad('pony2026r2', async () => {
      if (!fail) return tasks(world, '--yes', 'promote_staging_to_production')
      fail()
      await expect(tasks(world, '--yes', 'promote_staging_to_production')).rejects.toThrow(/Go on with --resume/)
      expect(leads()).toBe('pony2026r1')
      return tasks(world, '--yes', 'promote_staging_to_production', '--resume')
    })
    expect(world.roles()).toEqual({ production: 'pony2026r2', former: 'pony2026r1' })
    expect(told.includes('through the web server, on the way that only this check can take')).toBe(provider === 'nginx')
    if (credential) expect(told).not.toContain(credential[1])

    // Where .env does not say it, the one who sits at the terminal does.
    if (credential) rewrite(join(world.dir, '.env'), (text) => text.replace(`${credential.join('=')}\n`, ''))
    const shown = await underLoad('pony2026r1', () =>
      credential
        ? typed(world, 'demote', [
            [new RegExp(credential[0]), credential[1]],
            [/Type the app's name/, 'pony'],
          ])
        : provider === 'uberspace'
          ? dies(world, 'copy after', 'demote').then(() => tasks(world, '--yes', 'demote', '--resume'))
          : tasks(world, '--yes', 'demote'),
    )
    expect(world.roles()).toEqual({ production: 'pony2026r1', former: 'pony2026r2' })
    if (credential) {
      expect(shown).toContain(`${credential[0]} (for [domains])`)
      expect(shown).not.toContain(credential[1])
      const kept = [`${world.home}/.slipway`, `${world.dir}/.slipway/runs`]
      for (const folder of kept) expect(readdirSync(folder)).not.toEqual([])
      expect(filesWith(credential[1], ...kept)).toEqual([])
    }

    if (provider !== 'nginx') return
    await underLoad('pony2026r2', () => tasks(world, '--yes', 'promote_staging_to_production'))
    expect(world.roles()).toEqual({ production: 'pony2026r2', former: 'pony2026r1' })
  })
})

it.skipIf(!process.env['SLIPWAY_TEST_LONG']).each(['opalstack', 'uberspace', 'nginx'])(
  'the first promotion makes what leads the domain to it, at %s',
  async (provider) => {
    const { world, leads, front } = await (places[provider] as (typeof places)[string])({ production: false })
    copyFileSync(join(repository, 'tasks.ts'), join(world.dir, 'tasks.ts'))
    await tasks(world, '--yes', 'promote_staging_to_production')
    expect(world.roles()).toEqual({ production: 'pony2026r2' })
    expect(leads()).toBe('pony2026r2')
    const load = world.load({ connections: 2, ...(front ? { port: front.port } : {}) })
    await load.reached(50)
    const report = await load.stop()
    expect(report.failed).toEqual([])
    expect(audit(report, marksIn(world, 'pony2026r2'))).toEqual({ missing: [], twice: [] })
  },
  180_000,
)

/** As if the operator's machine had died with the task while the host is at `place`. */
async function dies(world: World, place: string, task: string): Promise<void> {
  const child = spawn(process.execPath, [built.tasks, '--sandbox', '--yes', task], {
    cwd: world.dir,
    env: environment(world),
    stdio: 'ignore',
  })
  const ended = new Promise((resolve) => child.on('close', resolve))
  const folder = await standStill(world, place)
  child.kill('SIGKILL')
  await ended
  rmSync(`${folder}/paused`)
}

const rewrite = (file: string, change: (text: string) => string) => {
  const before = readFileSync(file, 'utf8')
  expect(change(before)).not.toBe(before)
  writeFileSync(file, change(before))
}

async function typed(world: World, task: string, answers: [RegExp, string][]): Promise<string> {
  const { status, shown } = await atTerminal(`'${process.execPath}' '${built.tasks}' --sandbox ${task}`, {
    cwd: world.dir,
    env: environment(world),
    answers,
  })
  expect({ status, shown: status === 0 ? '' : shown }).toEqual({ status: 0, shown: '' })
  return shown
}
