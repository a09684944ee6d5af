/** A Host over a Transport. SSH and local differ in how the transport is had, and in nothing else. */
import { UsageError } from '../events/errors.ts'
import { currentRun } from '../events/run.ts'
import { type Command, type Secret, sh, type Word } from '../shell/index.ts'
import * as files from './files.ts'
import type {
  CommandTag,
  Host,
  HostStream,
  RsyncOptions,
  RunCommandOptions,
  ScriptOptions,
  ScriptStep,
  TailOptions,
  WriteOptions,
} from './host.ts'
import { openHostStream } from './host-stream.ts'
import { interact } from './interactive.ts'
import { pool } from './pool.ts'
import { withReach } from './reach.ts'
import { reboot } from './reboot.ts'
import { rsync } from './rsync.ts'
import { type CommandSite, type StartOptions, startCommand } from './running.ts'
import { runProbes, runScript } from './scripts.ts'
import { sudoFor } from './sudo.ts'
import { tailHost } from './tail.ts'
import type { Transport } from './transport.ts'
import {
  escapeForPercentB,
  interactiveLine,
  killCommand,
  resolvePath,
  type Scope,
  type WireOptions,
  wireCommand,
  wireScript,
} from './wire.ts'

/** Characters of a script, as it is spelled there, that fit into a command's request: one packet, 32 KiB for the smallest servers. */
const shortScript = 28_000

/**
 * The host at an ssh destination. Nothing connects before it is used.
 *
 * @example
 * ```ts
 * const { stdout } = await host('deploy@web1').$`uptime`
 * ```
 */
export function host(destination: string): Host {
  return makeHost(destination, 'ssh', { env: {} })
}

/**
 * This machine.
 *
 * @example
 * ```ts
 * await local().$`npm run build`
 * ```
 */
export function local(): Host {
  return makeHost('local', 'local', { env: {} })
}

function makeHost(name: string, kind: 'ssh' | 'local', scope: Scope): Host {
  const transport = (): Promise<Transport> => (kind === 'local' ? pool().local() : pool().transport(name))

  const wireOptions = async (pty: boolean): Promise<WireOptions> =>
    scope.user === undefined ? { pty } : { ...(await sudoFor({ name, user: scope.user, transport }, name)), pty }

  const site = (text: string, secret: boolean, inScope: Scope): CommandSite => ({
    name,
    transport,
    wire: async (nonce, pty) => wireCommand(text, secret, inScope, nonce, await wireOptions(pty)),
    killLine: async (pid, signal) =>
      wireCommand(killCommand(pid, signal), false, { env: {}, user: scope.user }, 'kill', await wireOptions(false)),
  })

  const run = (command: Command | string, options: RunCommandOptions = {}) => {
    const text = typeof command === 'string' ? command : command.render()
    return startCommand(site(text, false, scope), display(String(command), scope), options)
  }
  const tag =
    (kindOfCommand: 'probe' | 'write'): CommandTag =>
    (strings: TemplateStringsArray, ...words: readonly Word[]) =>
      run(sh(strings, ...words), { kind: kindOfCommand })

  // Paths are resolved against the directory, not run in it: whether a file exists is a fair question either way.
  const fileSite: files.FileSite = {
    name,
    directory: scope.directory,
    run: (command, shown, options) =>
      startCommand(site(command.render(), false, { env: {}, user: scope.user }), display(shown, scope), options),
  }
  const scriptSite = {
    name,
    script: (text: string, secret: boolean, shown: string, options: StartOptions) =>
      // Input is waited for until the server has begun the command: a short text is the command itself.
      !secret && escapeForPercentB(text).length < shortScript
        ? startCommand(site(text, false, scope), display(shown, scope), options)
        : startCommand(
            {
              ...site('', false, scope),
              wire: async (nonce: string) => wireScript(scope, nonce, await wireOptions(false)),
            },
            display(shown, scope),
            { ...options, input: text },
          ),
  }
  const derive = (change: Partial<Scope>): Host => makeHost(name, kind, { ...scope, ...change })

  const made: Host = {
    name,
    kind,
    directory: scope.directory,
    $: tag('write'),
    probe: tag('probe'),
    run,
    cd: (dir: string) => derive({ directory: resolvePath(scope.directory, dir) }),
    env(variables) {
      const added: Record<string, string | Secret> = {}
      for (const [key, value] of Object.entries(variables)) {
        if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(key)) {
          throw new UsageError('bad-variable', `${JSON.stringify(key)} is not a name for an environment variable`)
        }
        if (value === undefined) continue
        added[key] = typeof value === 'number' || typeof value === 'boolean' ? String(value) : value
      }
      return derive({ env: { ...scope.env, ...added } })
    },
    as(user: string) {
      if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$/.test(user)) {
        throw new UsageError('bad-user', `${JSON.stringify(user)} is not a user name`)
      }
      return derive({ user })
    },
    script: (steps: readonly ScriptStep[], options?: ScriptOptions) => runScript(scriptSite, steps, options),
    probes: (reads) => runProbes(scriptSite, reads),

    read: async (path: string) => (await files.readBytes(fileSite, path)).toString('utf8'),
    readBytes: (path: string) => files.readBytes(fileSite, path),
    write: (path: string, content: string | Uint8Array | Secret, options?: WriteOptions) =>
      files.writeFile(fileSite, path, content, options),
    edit: (path, change, options) => files.editFile(fileSite, path, change, options),
    template: (file, path, data, options) => files.writeTemplate(fileSite, file, path, data, options),
    exists: (path) => files.exists(fileSite, path),
    symlink: (target, link) => files.symlink(fileSite, target, link),
    readlink: (path) => files.readlink(fileSite, path),
    chmod: (path, mode) => files.chmod(fileSite, path, mode),
    mkdir: (path, options) => files.mkdir(fileSite, path, options?.mode),
    remove: (path, options) => files.remove(fileSite, path, options?.recursive ?? false),
    upload: (localFile, path, options) => files.upload(fileSite, localFile, path, options),
    download: (path, localFile) => files.download(fileSite, path, localFile),
    rsync: (options: RsyncOptions) =>
      rsync(
        {
          name,
          kind,
          directory: scope.directory,
          user: scope.user,
          transport,
          home: () => made.home(),
          sudo: () => wireOptions(false),
        },
        options,
      ),
    tail: (paths: string | readonly string[], options?: TailOptions) =>
      tailHost(
        {
          name,
          start: (command, given) =>
            startCommand(site(command.render(), false, scope), given.label ?? 'tail', { ...given, follower: true }),
          probe: (text) => run(text, { kind: 'probe', quiet: true }).text(),
        },
        typeof paths === 'string' ? [paths] : paths,
        options,
      ),
    openStream: async (socketPath: string): Promise<HostStream> => {
      const full = resolvePath(scope.directory, socketPath)
      const absolute = full.startsWith('/') ? full : `${await made.home()}/${full.replace(/^~\//, '')}`
      return openHostStream(name, await transport(), absolute)
    },
    home: () =>
      currentRun().memo(`home:${kind}:${name}:${scope.user ?? ''}`, async () => {
        const site = makeHost(name, kind, { env: {}, user: scope.user })
        const running = site.run('printf %s "$HOME"', { kind: 'probe', quiet: true, label: 'home directory' })
        return (await running).stdout
      }),
    reboot: (options) => reboot(made, options?.deadlineMs),
    shell: async (command?: string) => interact(await transport(), interactiveLine(command, scope)),
  }
  return withReach(made, { transport })
}

/** A command as it is shown: with where and as whom. */
function display(command: string, scope: Scope): string {
  const user = scope.user === undefined ? '' : `[as ${scope.user}] `
  const directory = scope.directory === undefined ? '' : `[${scope.directory}] `
  return `${user}${directory}${command}`
}
