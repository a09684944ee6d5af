/**
 * The Heroku platform's emulator beside the sandbox's host: a process of its own that outlives the command that
 * starts it. What it keeps (apps, databases) ends with it.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SlipwayError } from '../events/errors.ts'
import { makePlace, type SandboxPlace, sandboxPlace } from './place.ts'
import { freePort, isFree } from './ports.ts'
import { endProcesses, identify, isRunning, type ProcessIdentity, withEnvironment } from './process.ts'
import { sandboxMarker } from './standins.ts'

export interface HerokuState {
  /** What a client needs in its environment to find the emulator. */
  environment: Record<string, string>
  url: string
  /** An ssh_config that leads nowhere: for when the host of the sandbox is not up. */
  sshConfigFile: string
  /** Where runs keep what they otherwise keep in the home of whoever runs them: it goes with the emulator. */
  stateHome: string
  process: ProcessIdentity
}

/** The emulator of a project, if it is up. */
export async function herokuState(projectDir: string): Promise<HerokuState | undefined> {
  const state = await recorded(await sandboxPlace(projectDir))
  return state && (await isRunning(state.process)) ? state : undefined
}

/** Starts the emulator of a project, on the port that it had before where that is free. */
export async function startHeroku(projectDir: string): Promise<HerokuState & { started: boolean }> {
  const there = await herokuState(projectDir)
  if (there) return { ...there, started: false }
  const place = await sandboxPlace(projectDir)
  await makePlace(place)
  await stopHeroku(projectDir)
  const dir = join(place.root, 'heroku')
  await rm(dir, { recursive: true, force: true })
  await requireParts()
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const sshConfigFile = join(dir, 'no-hosts')
  await writeFile(
    sshConfigFile,
    '# The host of this sandbox is not up: slipway sandbox up\nHost *\n  HostName 127.0.0.1\n  Port 9\n',
  )
  const before = Number(new URL((await recorded(place))?.url ?? 'http://127.0.0.1').port)
  const port = before > 0 && (await isFree(before)) ? before : await freePort()
  const { identity, environment } = await begin(dir, port)
  const state: HerokuState = {
    environment,
    url: `http://127.0.0.1:${port}`,
    sshConfigFile,
    stateHome: dir,
    process: identity,
  }
  const file = stateFile(place)
  await writeFile(`${file}.new`, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 })
  await rename(`${file}.new`, file)
  return { ...state, started: true }
}

/** From now on these faults, by name, and no others. The emulator has to be up. */
export async function setFaults(projectDir: string, names: readonly string[]): Promise<void> {
  const state = await herokuState(projectDir)
  if (!state)
    throw new SlipwayError('sandbox-heroku-down', "the sandbox's Heroku emulator is not up", {
      state: 'Nothing was switched.',
      next: 'Start it: slipway sandbox up --heroku',
    })
  const answer = await fetch(`${state.url}/_faults`, {
    method: 'PUT',
    headers: {
      Authorization: `Bearer ${state.environment['HEROKU_API_KEY']}`,
      'Content-Type': 'application/json',
    },
    body: JSON.stringify({ names }),
    signal: AbortSignal.timeout(10_000),
  })
  if (!answer.ok) throw new Error(`the emulator answered ${answer.status}: ${await answer.text()}`)
}

/** Ends the emulator with its dynos and databases. Resolves with whether it ran. */
export async function stopHeroku(projectDir: string): Promise<boolean> {
  const place = await sandboxPlace(projectDir)
  const state = await recorded(place)
  const ran = state !== undefined && (await isRunning(state.process))
  if (state) await endProcesses([state.process], { graceMs: 20_000 })
  // Dynos and servers of one that was killed. The mark is not the host's: starting that one ends what is left of its own.
  await endProcesses(await withEnvironment(sandboxMarker(join(place.root, 'heroku'))))
  return ran
}

/** What the emulator runs: missed at the first add-on otherwise, long after its start. */
async function requireParts(): Promise<void> {
  const folders = (process.env['PATH'] ?? '').split(':')
  const has = (program: string): boolean => folders.some((folder) => folder !== '' && existsSync(join(folder, program)))
  const servers = await readdir('/usr/lib/postgresql').catch(() => [])
  const missing = [
    ...(servers.some((version) => existsSync(`/usr/lib/postgresql/${version}/bin/initdb`)) ? [] : ['postgresql']),
    ...(['openssl', 'tar', 'git'] as const).filter((program) => !has(program)),
  ]
  if (missing.length === 0) return
  throw new SlipwayError('sandbox-heroku', `the Heroku emulator needs what is not installed: ${missing.join(', ')}`, {
    state: 'Nothing was started.',
    next: `Install it: sudo apt-get install --no-install-recommends ${missing.join(' ')}`,
  })
}

async function begin(
  dir: string,
  port: number,
): Promise<{ identity: ProcessIdentity; environment: Record<string, string> }> {
  const log = await open(join(dir, 'log'), 'w', 0o600)
  try {
    const child = spawn(process.execPath, [program(), join(dir, 'platform'), String(port)], {
      cwd: dir,
      detached: true,
      stdio: ['ignore', 'pipe', log.fd],
      env: { ...process.env, ...sandboxMarker(dir) },
    })
    const printed = await new Promise<string>((resolve, reject) => {
      let text = ''
      child.once('error', reject)
      child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        if (/^ready$/m.test(text)) resolve(text)
      })
      child.once('exit', () => resolve(''))
    })
    const identity = child.pid === undefined ? undefined : await identify(child.pid)
    if (printed === '' || !identity) {
      throw new SlipwayError('sandbox-heroku', 'the Heroku emulator did not start', {
        detail: (await readFile(join(dir, 'log'), 'utf8')).split('\n').slice(-10).join('\n'),
        state: 'Nothing runs.',
        next: 'It needs PostgreSQL (initdb, pg_ctl, psql), openssl and tar.',
      })
    }
    child.stdout?.destroy()
    child.unref()
    const pairs = [...printed.matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value] as const)
    return { identity, environment: Object.fromEntries(pairs) }
  } finally {
    await log.close()
  }
}

/** The emulator's program: built, in a package; or its source, in a checkout. */
function program(): string {
  const here = fileURLToPath(import.meta.url)
  for (let dir = dirname(here); ; dir = dirname(dir)) {
    if (!existsSync(join(dir, 'package.json'))) {
      if (dir !== dirname(dir)) continue
      throw new Error(`no package.json above ${here}`)
    }
    const built = join(dir, 'dist/sandbox/heroku.js')
    return here.startsWith(join(dir, 'dist')) && existsSync(built) ? built : join(dir, 'src/sandbox/heroku/start.mjs')
  }
}

const stateFile = ({ dir }: SandboxPlace): string => join(dir, 'heroku.json')

async function recorded(place: SandboxPlace): Promise<HerokuState | undefined> {
  const text = await readFile(stateFile(place), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as HerokuState
  } catch {
    return undefined
  }
}
