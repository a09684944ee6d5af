/** Hosts that are not there: they record what tasks do with them, answer as told, and keep files in memory. */
import type { Run } from '../events/run.ts'
import { type Pool, poolKey } from '../hosts/pool.ts'
import type { SshConfig } from '../hosts/ssh-config.ts'
import type { Transport } from '../hosts/transport.ts'
import { type Answer, fakeTransport } from './fake-transport.ts'

/** What fake hosts answer, and which files they have. */
export interface FakeHostsOptions {
  /**
   * What a command gives: text for stdout, or an Answer. Without one (or with `undefined`) a command succeeds and
   * prints nothing. `command` is the text as the task wrote it, without its directory and variables.
   */
  answer?(command: string, host: string): string | Answer | undefined
  /** Files that are there: host → path as the task writes it → text. */
  files?: Readonly<Record<string, Readonly<Record<string, string>>>>
}

/** Hosts that are not there: what tasks did with them can be asked. */
export interface FakeHosts {
  /** Commands in the order they came, of one host or as `host: command` of all; file operations are not among them. */
  commands(host?: string): string[]
  /** The text of a file, or undefined where there is none. */
  file(host: string, path: string): string | undefined
  /** Where a symlink points, or undefined. */
  link(host: string, path: string): string | undefined
  /** Makes every host of a run a fake. `recordRun` calls it. */
  install(run: Run): void
}

interface FakeHost {
  files: Map<string, Buffer>
  links: Map<string, string>
}

/**
 * Nothing connects and nothing runs, `local()` included: what reaches past host.$ (fs, fetch, zx) is not held back.
 *
 * @example
 * ```ts
 * const hosts = fakeHosts({ answer: (command) => (command === 'uptime' ? 'up 3 days' : undefined) })
 * ```
 */
export function fakeHosts(options: FakeHostsOptions = {}): FakeHosts {
  const hosts = new Map<string, FakeHost>()
  const recorded: { host: string; command: string }[] = []
  const hostNamed = (name: string): FakeHost => {
    const host = hosts.get(name) ?? { files: new Map(), links: new Map() }
    if (!hosts.has(name)) {
      for (const [path, text] of Object.entries(options.files?.[name] ?? {})) host.files.set(path, Buffer.from(text))
      hosts.set(name, host)
    }
    return host
  }
  const answer = (name: string, command: string, input: Buffer): Answer => {
    const ofFile = following(hostNamed(name), command) ?? fileOperation(hostNamed(name), command, input)
    if (ofFile) return ofFile
    recorded.push({ host: name, command })
    const given = options.answer?.(command, name)
    return typeof given === 'string'
      ? { stdout: given.endsWith('\n') || given === '' ? given : `${given}\n` }
      : (given ?? {})
  }
  const transports = new Map<string, Transport>()
  const transport = (name: string): Transport => {
    const standing = transports.get(name) ?? fakeTransport((command, input) => answer(name, command, input))
    transports.set(name, standing)
    return standing
  }
  const pool: Pool = {
    config: async (destination) => ({ destination, hostName: destination, user: 'fake', port: 22 }) as SshConfig,
    transport: async (destination) => transport(destination),
    local: async () => transport('local'),
  }
  return {
    commands: (host) =>
      host === undefined
        ? recorded.map((each) => `${each.host}: ${each.command}`)
        : recorded.filter((each) => each.host === host).map(({ command }) => command),
    file: (host, path) => hostNamed(host).files.get(path)?.toString(),
    link: (host, path) => hostNamed(host).links.get(path),
    install: (run) => void run.memo(poolKey, () => pool),
  }
}

/** The script of hosts/tail-script.ts: the last lines of files in memory, as it would say them; undefined for any other. */
function following({ files, links }: FakeHost, command: string): Answer | undefined {
  const nonce = /^say\(\) \{ printf '\\036(\w+) /m.exec(command)?.[1]
  if (nonce === undefined || !command.includes('exec 9<&0')) return undefined
  const count = Number(/\$\(tail -n (\d+) --/.exec(command)?.[1] ?? Number.POSITIVE_INFINITY)
  const said = [...command.matchAll(/^f(\d+)=(.*)$/gm)].map(([, index, word]) => {
    const path = written(word ?? '')
    const content = files.get(links.get(path) ?? path)?.toString()
    if (content === undefined) return `\x1e${nonce} M ${index} missing\n`
    const lines = content.split(/(?<=\n)/)
    const text = lines.slice(Math.max(0, lines.length - count)).join('')
    const bytes = Buffer.byteLength(text)
    return `\x1e${nonce} D ${index} 1 ${Buffer.byteLength(content) - bytes} ${bytes}\n${text}`
  })
  return { stdout: said.join('') }
}

/** The commands of hosts/file-commands.ts, done in memory; undefined for any other. */
function fileOperation({ files, links }: FakeHost, command: string, input: Buffer): Answer | undefined {
  const target = assigned(command, 't')
  if (target === undefined) return undefined
  const missing = { exitCode: 44 }
  const content = () => files.get(links.get(target) ?? target)
  if (command.includes('exec cat -- "$t"')) return content() ? { stdout: content()!.toString() } : missing
  if (command.includes('cat >"$n"')) {
    const same = content()?.equals(input) ?? false
    files.set(links.get(target) ?? target, input)
    return { stdout: same ? 'same\n' : 'changed\n' }
  }
  if (command.includes('echo yes; else echo no'))
    return { stdout: files.has(target) || links.has(target) ? 'yes\n' : 'no\n' }
  if (command.includes('ln -s -- "$v" "$n"')) {
    const to = assigned(command, 'v') ?? ''
    const same = links.get(target) === to
    links.set(target, to)
    return { stdout: same ? 'same\n' : 'changed\n' }
  }
  if (command.includes('exec readlink -- "$t"'))
    return links.has(target) ? { stdout: `${links.get(target)}\n` } : missing
  if (command.includes('rm -f -- "$t"')) {
    for (const path of [...files.keys(), ...links.keys()]) {
      if (path !== target && !path.startsWith(`${target}/`)) continue
      files.delete(path)
      links.delete(path)
    }
    return {}
  }
  if (command.includes('exec chmod') || command.includes('mkdir -p -- "$t"')) return {}
  if (command.includes('stat -L -c %a')) return content() ? { stdout: '644\n' } : { exitCode: 1 }
  return undefined
}

/** The path in `t=…`, as the task wrote it: `./` is put before relative ones on the way. */
function assigned(command: string, variable: 't' | 'v'): string | undefined {
  const match = new RegExp(`^(?:set -eu?; )?(?:v=[^;]*; )?${variable}=((?:'[^']*'|\\\\'|"\\$HOME"|[^;' "])+)`).exec(
    variable === 'v' ? command.replace(/^set -eu; /, '') : command,
  )
  if (!match) return undefined
  return written(match[1]!)
}

/** A path as the task wrote it, from how it is quoted on the way. */
const written = (word: string): string =>
  word.replace('"$HOME"', '~').replaceAll("'\\''", '\0').replaceAll("'", '').replaceAll('\0', "'").replace(/^\.\//, '')
