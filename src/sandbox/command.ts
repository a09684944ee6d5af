/** `slipway sandbox up | status | down | reset`. */
import { existsSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { UsageError } from '../events/errors.ts'
import { quote } from '../shell/quote.ts'
import type { SandboxFacts } from './facts.ts'
import { namedFaults } from './heroku/faults.ts'
import { type HerokuState, herokuState, setFaults, startHeroku, stopHeroku } from './heroku.ts'
import { sandboxPlace } from './place.ts'
import { removeSandbox, startSandbox, stopSandbox } from './sandbox.ts'
import { sandboxSites } from './sites.ts'
import { recordedState, type SandboxState, sandboxState } from './state.ts'

const faultLines = Object.entries(namedFaults)
  .map(([name, { about }]) => `             ${name.padEnd(20)}${about}`)
  .join('\n')

export const sandboxUsage = `usage: slipway sandbox <command> [--heroku [--fault NAME]] [--dir DIR] [--json]

  up       start the throwaway host: sshd and nginx on loopback, as you, with a home of its own
  status   whether it is up, its addresses, its sites (exit status 1 when it is down)
  down     end it and everything that was started in it; its files stay
  reset    remove its files too, and start an empty one if it was up

  --heroku the Heroku platform's emulator in place of the host; up prints the environment that a client needs
  --fault  with up --heroku: what goes wrong from now on, and nothing else; again for several; none for none:
${faultLines}
  --dir    the project; by default the nearest folder here or above with a task file or config/deploy.ini
  --json   print facts for programs

Examples:
  slipway sandbox up && tasks --sandbox deploy_staging
  slipway sandbox status --json
  slipway sandbox reset            begin anew, with an empty host
`

type Print = (text: string) => void

/** Runs one of the commands and resolves with the exit status. Rejects with a UsageError where there is no such one. */
export async function sandboxCommand(
  argv: readonly string[],
  print: Print = (text) => process.stdout.write(text),
): Promise<number> {
  const { command, dir, json, help, heroku, faults } = parse(argv)
  if (help) {
    print(sandboxUsage)
    return 0
  }
  const done = await (heroku ? herokuCommands : commands)[command](dir)
  if (faults) {
    await setFaults(dir, faults)
    const says =
      faults.length > 0 ? `From now on: ${faults.join(', ')}.\n` : 'Nothing goes wrong on purpose any more.\n'
    if (!json) print(says)
  }
  if (json) print(`${JSON.stringify({ v: 1, ...(await (heroku ? herokuFacts : facts)(dir)) }, undefined, 2)}\n`)
  else print(`${done.says}\n${done.shows ? await (heroku ? herokuDescription : description)(dir) : ''}`)
  return done.status ?? 0
}

interface Done {
  says: string
  /** Whether the addresses follow. */
  shows?: boolean
  status?: number
}

const commands = { up, status, down, reset }

const herokuCommands: Record<keyof typeof commands, (dir: string) => Promise<Done>> = {
  async up(dir) {
    const { started } = await startHeroku(dir)
    return { says: started ? 'The Heroku emulator is up.' : 'The Heroku emulator was up already.', shows: true }
  },
  async status(dir) {
    if (await herokuState(dir)) return { says: 'The Heroku emulator is up.', shows: true }
    return { says: 'The Heroku emulator is down. Start it: slipway sandbox up --heroku', status: 1 }
  },
  async down(dir) {
    const ran = await stopHeroku(dir)
    return {
      says: ran ? 'The Heroku emulator is down, and its apps are gone.' : 'The Heroku emulator was down already.',
    }
  },
  async reset(dir) {
    if (!(await stopHeroku(dir))) return { says: 'The Heroku emulator was down already.' }
    await startHeroku(dir)
    return { says: 'An empty Heroku emulator is up.', shows: true }
  },
}

async function herokuFacts(dir: string): Promise<SandboxFacts> {
  const state = await herokuState(dir)
  return state ? { up: true, url: state.url, environment: state.environment } : { up: false }
}

/** Lines for a shell: what is tasks' own way comes first. */
async function herokuDescription(dir: string): Promise<string> {
  const state = await herokuState(dir)
  return state ? herokuText(state) : ''
}

function herokuText({ environment }: HerokuState): string {
  const lines = Object.entries(environment).map(([name, value]) => `  export ${name}=${quote(value)}`)
  return [
    '  tasks --sandbox init_staging      where config/deploy.ini has target = heroku',
    '',
    '  For any other client, in its shell:',
    ...lines,
    '',
  ].join('\n')
}

async function up(dir: string): Promise<Done> {
  const { started } = await startSandbox({ dir })
  return { says: started ? 'The sandbox is up.' : 'The sandbox was up already.', shows: true }
}

async function status(dir: string): Promise<Done> {
  if (await sandboxState(dir)) return { says: 'The sandbox is up.', shows: true }
  const before = await recordedState(await sandboxPlace(dir))
  return { says: `The sandbox is down${before ? '; its files are kept' : ''}. Start it: slipway sandbox up`, status: 1 }
}

async function down(dir: string): Promise<Done> {
  // The emulator has no files to keep apart from it: it ends too.
  const emulated = await stopHeroku(dir)
  const ran = (await stopSandbox({ dir })) || emulated
  return { says: ran ? 'The sandbox is down; its files are kept.' : 'The sandbox was down already.' }
}

async function reset(dir: string): Promise<Done> {
  const wasUp = (await sandboxState(dir)) !== undefined
  await removeSandbox({ dir })
  if (!wasUp) return { says: 'The sandbox has been removed.' }
  await startSandbox({ dir })
  return { says: 'The sandbox has been removed, and an empty one is up.', shows: true }
}

async function facts(dir: string): Promise<SandboxFacts> {
  const state = await sandboxState(dir)
  if (!state) return { up: false }
  const { home, user, sshConfigFile, sshPort, httpPort } = state
  const sites = (await sandboxSites(home)).flatMap(({ app, deployment, domains }) =>
    domains.map((domain) => ({ app, deployment, domain, url: siteUrl(domain, state) })),
  )
  return { up: true, home, user, sshConfigFile, sshPort, httpPort, sites }
}

async function description(dir: string): Promise<string> {
  const state = await sandboxState(dir)
  if (!state) return ''
  const config = relative(process.cwd(), state.sshConfigFile)
  const lines = [
    `  home   ${state.home}`,
    `  ssh    ssh -F ${config.startsWith('..') ? state.sshConfigFile : config} <any host>     (127.0.0.1:${state.sshPort})`,
    `  http   127.0.0.1:${state.httpPort}`,
  ]
  const sites = await sandboxSites(state.home)
  for (const { domains } of sites) {
    for (const domain of domains) {
      lines.push(`  site   ${siteUrl(domain, state)}`)
      lines.push(`         curl -H 'Host: ${domain}' http://127.0.0.1:${state.httpPort}/`)
    }
  }
  if (sites.length === 0) lines.push('  site   none yet: tasks --sandbox init_staging')
  return `${lines.join('\n')}\n`
}

/** What a browser on this machine can open: it looks no name below localhost up. */
function siteUrl(domain: string, { httpPort }: SandboxState): string {
  return `http://${domain}.localhost:${httpPort}/`
}

function parse(argv: readonly string[]) {
  const parsed = tryParse(argv)
  const [name, ...rest] = parsed.positionals
  const names = Object.keys(commands)
  const help = parsed.values.help === true
  if (!help && (name === undefined || !(name in commands))) {
    throw new UsageError(
      'sandbox-usage',
      name === undefined ? 'sandbox: which command?' : `sandbox has no command ${name}`,
      {
        next: `One of: ${names.join(', ')}.`,
      },
    )
  }
  if (rest.length > 0) throw new UsageError('sandbox-usage', `sandbox ${name} takes no ${rest.join(' ')}`)
  const faults = parsed.values.fault?.filter((fault) => fault !== 'none')
  if (faults && (parsed.values.heroku !== true || name !== 'up')) {
    throw new UsageError('sandbox-usage', '--fault goes with up --heroku', {
      next: `slipway sandbox up --heroku${faults.map((fault) => ` --fault ${fault}`).join('')}`,
    })
  }
  const unknown = faults?.filter((fault) => !(fault in namedFaults)) ?? []
  if (unknown.length > 0) {
    throw new UsageError('sandbox-usage', `there is no fault ${unknown.join(', ')}`, {
      next: `One of: ${Object.keys(namedFaults).join(', ')}, none.`,
    })
  }
  return {
    faults,
    command: name as keyof typeof commands,
    dir: parsed.values.dir ?? projectDir(process.cwd()),
    json: parsed.values.json === true,
    heroku: parsed.values.heroku === true,
    help,
  }
}

function tryParse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        dir: { type: 'string' },
        json: { type: 'boolean' },
        heroku: { type: 'boolean' },
        fault: { type: 'string', multiple: true },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw new UsageError('sandbox-usage', `sandbox: ${(error as Error).message}`, { next: 'slipway sandbox --help' })
  }
}

/** The nearest folder, from `from` upward, that has a task file or a configuration; `from` where none has. */
function projectDir(from: string): string {
  const signs = ['tasks.ts', 'tasks.mts', 'tasks.js', 'tasks.mjs', join('config', 'deploy.ini')]
  for (let dir = from; ; dir = dirname(dir)) {
    if (signs.some((sign) => existsSync(join(dir, sign)))) return dir
    if (dir === dirname(dir)) return from
  }
}
