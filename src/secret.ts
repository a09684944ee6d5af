/** `secret('NAME')` in a task file: the value of a secret of the project, as one that is never shown. */
import { loadConfig, resolveSecret } from './config/index.ts'
import { currentRun, UsageError } from './events/index.ts'
import type { Secret } from './shell/index.ts'

/**
 * Found in .env, the environment, by its command of [secret_commands], or by asking at a terminal. Rejects with a
 * UsageError that says where it was looked for.
 *
 * @example
 * ```ts
 * await host.env({ API_KEY: await secret('API_KEY') }).$`bin/sync`
 * ```
 */
export async function secret(name: string): Promise<Secret> {
  const dir = currentRun().options.projectDir ?? process.cwd()
  return await resolveSecret({ dir, secretCommands: secretCommands(dir) }, name)
}

/** A task file may do without a configuration. */
function secretCommands(dir: string) {
  try {
    return loadConfig(dir).secretCommands
  } catch (error) {
    if (error instanceof UsageError && error.code === 'no-config') return undefined
    throw error
  }
}
