/**
 * What is known of a sandbox, in `.slipway/sandbox/state.json` of a project:
 *
 *   home           the home of the host, as its commands see it
 *   sshConfigFile  for `ssh -F`: every destination is this host
 *   sshPort        where its sshd listens on 127.0.0.1
 *   httpPort       where its nginx listens on 127.0.0.1. A check from outside connects there, with the site's name in
 *                  the Host header, whatever name the configuration has
 *
 * Commands on the host find SLIPWAY_NGINX_LISTEN (127.0.0.1:<httpPort>) in their environment: what a site there
 * listens on. Sites are <home>/.slipway/<app>/sites/<deployment>/nginx.conf; `nginx -t` and `nginx -s reload` are
 * this nginx. Nothing needs root.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SlipwayError } from '../events/errors.ts'
import { type SandboxPlace, sandboxPlace } from './place.ts'
import { isRunning, type ProcessIdentity } from './process.ts'

export interface SandboxState {
  home: string
  user: string
  sshConfigFile: string
  knownHostsFile: string
  clientKeyFile: string
  sshPort: number
  httpPort: number
  /** Everything of it but this file lies here. */
  root: string
  sshd: ProcessIdentity
  nginx: ProcessIdentity
}

/** The sandbox of a project, if it is up: undefined when it never was, was taken down, or died with the machine. */
export async function sandboxState(projectDir: string): Promise<SandboxState | undefined> {
  const state = await recordedState(await sandboxPlace(projectDir))
  if (!state) return undefined
  const alive = await Promise.all([isRunning(state.sshd), isRunning(state.nginx)])
  return alive.every(Boolean) ? state : undefined
}

/** The ssh_config in which every destination is the sandbox. Throws `sandbox-down` where it is not up. */
export async function sandboxSshConfig(projectDir: string): Promise<string> {
  const state = await sandboxState(projectDir)
  if (state) return state.sshConfigFile
  throw new SlipwayError('sandbox-down', `the sandbox of ${projectDir} is not up`, {
    state: 'Nothing was connected to.',
    next: 'Start it: slipway sandbox up',
  })
}

/** What was written down last, alive or not. */
export async function recordedState({ dir }: SandboxPlace): Promise<SandboxState | undefined> {
  const text = await readFile(join(dir, 'state.json'), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as SandboxState
  } catch {
    return undefined
  }
}

export async function recordState({ dir }: SandboxPlace, state: SandboxState): Promise<void> {
  const file = join(dir, 'state.json')
  await writeFile(`${file}.new`, `${JSON.stringify(state, undefined, 2)}\n`)
  await rename(`${file}.new`, file)
}
