/**
 * Where secrets come from: .env, the environment, a command such as a password manager's, or a question. Each is
 * resolved once a run and registered there, so that its value is scrubbed from everything shown.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { currentRun, hostsReached, type Run, UsageError } from '../events/index.ts'
import { Secret } from '../shell/index.ts'
import type { Config } from './types.ts'

type Dotenv = typeof import('dotenv')

/** The variables of the project's .env; the process's environment is not touched. */
export function readDotenv(dir: string): Record<string, string> {
  const file = join(dir, '.env')
  if (!existsSync(file)) return {}
  const dotenv = createRequire(import.meta.url)('dotenv') as Dotenv
  return dotenv.parse(readFileSync(file))
}

/** The name in `secret:NAME`, or undefined. */
export function secretName(value: string): string | undefined {
  return /^secret:([A-Za-z_][A-Za-z0-9_]*)$/.exec(value)?.[1]
}

/**
 * The secret `name`. Throws a UsageError that says where it was looked for; `neededBy` says what wants it.
 * The first place that has it wins: .env, the environment, its command, a question at the terminal.
 */
export function resolveSecret(
  config: Pick<Config, 'dir' | 'secretCommands'>,
  name: string,
  neededBy?: string,
): Promise<Secret> {
  const run = currentRun()
  return run.memo(`secret ${config.dir} ${name}`, async () => {
    const secret = new Secret(await findSecret(config, name, neededBy), name)
    if (secret.reveal() !== '') run.secrets.add(secret)
    return secret
  })
}

async function findSecret(
  config: Pick<Config, 'dir' | 'secretCommands'>,
  name: string,
  neededBy?: string,
): Promise<string> {
  const run = currentRun()
  const here = readDotenv(config.dir)[name] ?? process.env[name]
  if (here !== undefined && here !== '') return here
  const command = config.secretCommands?.[name]
  if (command !== undefined) return fromCommand(command, name, config.dir)
  if (run.prompter.interactive) return run.prompter.password(`${name}${neededBy ? ` (for ${neededBy})` : ''}`)
  throw new UsageError(
    'no-secret',
    `the secret ${name} is nowhere to be found${neededBy ? `; ${neededBy} needs it` : ''}`,
    {
      ...untouched(run),
      next: `Put ${name}=… into .env, set it in the environment, or give a command under [secret_commands].`,
    },
  )
}

async function fromCommand(command: string, name: string, dir: string): Promise<string> {
  const { $ } = await import('zx')
  const run = await $({ cwd: dir, quiet: true, nothrow: true, shell: 'bash', input: '' })`bash -c ${command}`
  if (run.exitCode === 0 && run.stdout.trim() !== '') return run.stdout.replace(/\r?\n$/, '')
  throw new UsageError(
    'secret-command',
    run.exitCode === 0
      ? `the command for the secret ${name} printed nothing`
      : `the command for the secret ${name} failed with exit status ${run.exitCode}`,
    { detail: run.stderr.trim() || undefined, ...untouched(currentRun()), next: `Try it by hand: ${command}` },
  )
}

/** A secret that only a later task needs may be missed when earlier ones have done their work. */
function untouched(run: Run): { state?: string } {
  return hostsReached(run).size === 0 ? { state: 'Nothing has connected.' } : {}
}

/** `value`, or the secret that it names. */
export async function resolveText(config: Config, value: string, neededBy?: string): Promise<string | Secret> {
  const name = secretName(value)
  return name === undefined ? value : resolveSecret(config, name, neededBy)
}
