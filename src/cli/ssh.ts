/** `slipway ssh` and `slipway run`: a shell or a command there, over the connection that tasks would use. */
import { UsageError } from '../events/errors.ts'
import { exitWith } from '../tasks/record.ts'
import type { Io } from './io.ts'
import { packageVersion } from './package.ts'
import { projectFolder } from './project.ts'
import { runAndShow } from './run.ts'

export interface SshOptions {
  sshConfig?: string
  sandbox?: boolean
}

/** `where` is a deployment of config/deploy.ini (its first host), an ssh destination, or left out: the only host. */
export async function sshCommand(where: string | undefined, words: readonly string[], options: SshOptions, io: Io) {
  const projectDir = projectFolder(io.cwd)
  const destination = await destinationOf(projectDir, where)
  return await there(['ssh', destination, ...words], options, io, async () => {
    const [{ host }, { quoteAll }] = await Promise.all([import('../hosts/index.ts'), import('../shell/index.ts')])
    const command = words.length === 0 ? undefined : words.length === 1 ? words[0] : quoteAll(words)
    exitWith(await host(destination).shell(command))
  })
}

/** A one-off command in the current version of a deployment; its exit status is the run's. */
export async function runCommand(deployment: string, words: readonly string[], options: SshOptions, io: Io) {
  if (words.length === 0) {
    throw new UsageError('no-command', 'no command was given', {
      next: `For example: slipway run ${deployment} -- env`,
    })
  }
  return await there(['run', deployment, ...words], options, io, async () => {
    const { application } = await import('../application.ts')
    exitWith(await application({ deployments: [deployment] })[deployment]!.run(words))
  })
}

async function there(argv: string[], options: SshOptions, io: Io, body: () => Promise<void>): Promise<number> {
  const projectDir = projectFolder(io.cwd)
  const sshConfigFile = options.sandbox
    ? await (await import('../sandbox/index.ts')).sandboxSshConfig(projectDir)
    : (options.sshConfig ?? (io.env['SLIPWAY_SSH_CONFIG'] || undefined))
  const quietly = argv[0] === 'ssh' ? ({ verbosity: 'quiet' } as const) : {}
  const runOptions = { projectDir, ...quietly, ...(sshConfigFile ? { sshConfigFile } : {}) }
  return await runAndShow({ io, argv, version: packageVersion(), options: runOptions, projectDir }, body)
}

async function destinationOf(projectDir: string, where: string | undefined): Promise<string> {
  const { loadConfig } = await import('../config/index.ts')
  const deployments = configured(() => loadConfig(projectDir).deployments)
  if (where !== undefined) {
    const deployment = deployments[where]
    if (!deployment) return where
    if (deployment.target === 'vps' && deployment.hosts[0]) return deployment.hosts[0]
    throw new UsageError('no-hosts', `${where} has no host of its own: it runs on Heroku`, {
      next: `Run a command in a dyno: slipway run ${where} -- bash`,
    })
  }
  const hosts = Object.values(deployments).flatMap((each) => (each.target === 'vps' ? each.hosts : []))
  const [only, ...others] = [...new Set(hosts)]
  if (only !== undefined && others.length === 0) return only
  throw new UsageError('which-host', only === undefined ? 'no host was named' : 'there is more than one host', {
    next: `Name one: slipway ssh ${only === undefined ? 'user@host' : `${[only, ...others].join(', or slipway ssh ')}`}`,
  })
}

/** Without a configuration every destination can still be named. */
function configured<T>(load: () => Record<string, T>): Record<string, T> {
  try {
    return load()
  } catch (error) {
    if (error instanceof UsageError && error.code === 'no-config') return {}
    throw error
  }
}
