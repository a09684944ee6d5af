/**
 * The user's OpenSSH configuration for one destination, as `ssh -G` resolves it: Include, Match and tokens are
 * OpenSSH's business. Everything that connects uses this one record.
 */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { homedir, userInfo } from 'node:os'
import { UsageError } from '../events/errors.ts'
import { type PromiseWithResolvers, withResolvers } from './promises.ts'

export interface SshConfig {
  /** As the user wrote it. */
  readonly destination: string
  readonly hostName: string
  readonly user: string
  readonly port: number
  /** Files that hold keys; those that do not exist are among them. */
  readonly identityFiles: readonly string[]
  readonly certificateFiles: readonly string[]
  readonly identitiesOnly: boolean
  /** Path of the agent's socket; undefined where there is none, or none is wanted. */
  readonly identityAgent?: string
  /** Hosts to go through, in order, as written. */
  readonly proxyJump: readonly string[]
  readonly proxyCommand?: string
  /** The socket of the agent that the host may ask; undefined: none. */
  readonly forwardAgent?: string
  /** The name that known_hosts is asked for, in place of the host's. */
  readonly hostKeyAlias?: string
  readonly userKnownHostsFiles: readonly string[]
  readonly globalKnownHostsFiles: readonly string[]
  readonly strictHostKeyChecking: 'yes' | 'no' | 'ask' | 'accept-new'
  readonly hashKnownHosts: boolean
  /** Milliseconds; undefined: not configured. */
  readonly connectTimeoutMs?: number
  readonly serverAliveIntervalMs?: number
  readonly serverAliveCountMax: number
  readonly setEnv: Readonly<Record<string, string>>
  readonly sendEnv: readonly string[]
  readonly addressFamily: 'any' | 'inet' | 'inet6'
  readonly pubkeyAuthentication: boolean
  readonly passwordAuthentication: boolean
  readonly kbdInteractiveAuthentication: boolean
  readonly batchMode: boolean
  /** Set where there is no ssh client to ask, so that the record holds defaults. */
  readonly note?: string
  /** All of it, lower-case keys. */
  readonly all: ReadonlyMap<string, readonly string[]>
}

/** Reads what `ssh -G` printed. Pure but for the home directory and the environment given. */
export function parseSshConfig(
  destination: string,
  text: string,
  surroundings: { home: string; env: Readonly<Record<string, string | undefined>> },
): SshConfig {
  const all = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const space = line.indexOf(' ')
    if (space < 0) continue
    const key = line.slice(0, space).toLowerCase()
    const values = all.get(key)
    if (values) values.push(line.slice(space + 1).trim())
    else all.set(key, [line.slice(space + 1).trim()])
  }
  const one = (key: string) => all.get(key)?.[0]
  const flag = (key: string) => ['yes', 'true'].includes(one(key) ?? '')
  // `ssh -G` prints these as they are written; what it prints of names and ports is final.
  const tokens: Record<string, string> = {
    '%': '%',
    d: surroundings.home,
    h: one('hostname') ?? destination,
    i: String(process.getuid?.() ?? ''),
    k: one('hostkeyalias') ?? one('hostname') ?? destination,
    n: destination.replace(/^ssh:\/\//, '').replace(/^.*@/, ''),
    p: one('port') ?? '22',
    r: one('user') ?? '',
    u: surroundings.env.USER ?? one('user') ?? '',
  }
  const expand = (text: string) => text.replace(/%(.)/g, (all, token: string) => tokens[token] ?? all)
  const tilde = (path: string) => expand(path.replace(/^~(?=\/|$)/, surroundings.home))
  const files = (key: string) =>
    (all.get(key) ?? [])
      .flatMap((value) => value.split(/\s+(?=[/~]|none$)/))
      .filter((value) => value !== '' && value !== 'none')
      .map(tilde)
  const seconds = (key: string) => {
    const value = Number(one(key))
    return Number.isFinite(value) && value > 0 ? value * 1000 : undefined
  }
  const hostName = one('hostname') ?? destination
  const agent = agentSocket(one('identityagent'), surroundings.env, tilde)
  const forwardedAgent = () => {
    const value = one('forwardagent') ?? 'no'
    if (value === 'no' || value === 'false') return undefined
    return value === 'yes' || value === 'true' ? agent : agentSocket(value, surroundings.env, tilde)
  }
  const jump = one('proxyjump')
  const command = one('proxycommand')
  const alias = one('hostkeyalias')
  const strict = one('stricthostkeychecking')
  return {
    destination,
    hostName,
    user: one('user') ?? '',
    port: Number(one('port') ?? 22),
    identityFiles: files('identityfile'),
    certificateFiles: files('certificatefile'),
    identitiesOnly: flag('identitiesonly'),
    identityAgent: agent,
    proxyJump: jump && jump !== 'none' ? jump.split(',').map((hop) => hop.trim()) : [],
    proxyCommand: command && command !== 'none' ? expand(command) : undefined,
    forwardAgent: forwardedAgent(),
    hostKeyAlias: alias && alias !== 'none' ? alias : undefined,
    userKnownHostsFiles: files('userknownhostsfile'),
    globalKnownHostsFiles: files('globalknownhostsfile'),
    strictHostKeyChecking:
      strict === 'true' || strict === 'yes'
        ? 'yes'
        : strict === 'false' || strict === 'no' || strict === 'off'
          ? 'no'
          : strict === 'accept-new'
            ? 'accept-new'
            : 'ask',
    hashKnownHosts: flag('hashknownhosts'),
    connectTimeoutMs: seconds('connecttimeout'),
    serverAliveIntervalMs: seconds('serveraliveinterval'),
    serverAliveCountMax: Number(one('serveralivecountmax') ?? 3),
    setEnv: Object.fromEntries(
      (all.get('setenv') ?? []).map((pair) => {
        const equals = pair.indexOf('=')
        return [pair.slice(0, equals), pair.slice(equals + 1).replace(/^"(.*)"$/, '$1')]
      }),
    ),
    sendEnv: all.get('sendenv') ?? [],
    addressFamily: one('addressfamily') === 'inet' ? 'inet' : one('addressfamily') === 'inet6' ? 'inet6' : 'any',
    pubkeyAuthentication: one('pubkeyauthentication') !== 'no' && one('pubkeyauthentication') !== 'false',
    passwordAuthentication: one('passwordauthentication') !== 'no',
    kbdInteractiveAuthentication: one('kbdinteractiveauthentication') !== 'no',
    batchMode: flag('batchmode'),
    all,
  }
}

function agentSocket(
  configured: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  tilde: (path: string) => string,
): string | undefined {
  if (configured === 'none') return undefined
  if (configured === undefined || configured === 'SSH_AUTH_SOCK') return env.SSH_AUTH_SOCK || undefined
  if (configured.startsWith('$')) return env[configured.slice(1).replace(/^\{(.*)\}$/, '$1')] || undefined
  return tilde(configured)
}

/**
 * The first line of an ssh_config that is one host whatever a destination says, its user and its port too: a
 * sandbox's. OpenSSH has no way to say that, since what is written in a destination wins over the file.
 */
export const anyDestination = '# slipway: any destination, whatever its user and port'

/** What `ssh` is asked about in place of each destination. */
async function askedFor(destinations: readonly string[], configFile: string | undefined): Promise<string[]> {
  const text = configFile === undefined ? '' : await readFile(configFile, 'utf8').catch(() => '')
  if (!text.startsWith(anyDestination)) return [...destinations]
  return destinations.map((each) => /^(?:ssh:\/\/)?(?:[^@]*@)?(\[[^\]]+\]|[^:/]+)/.exec(each)?.[1] ?? each)
}

/** Asks `ssh -G`. Rejects with a UsageError where the configuration itself is wrong. */
export async function resolveSshConfig(destination: string, configFile?: string): Promise<SshConfig> {
  return (resolveSshConfigs([destination], configFile) as [Promise<SshConfig>])[0]
}

/** The same for several at once: each resolves as soon as it is known. One process here starts the others. */
export function resolveSshConfigs(destinations: readonly string[], configFile?: string): Promise<SshConfig>[] {
  const good = destinations.filter(isDestination)
  const answers = new Map<string, PromiseWithResolvers<Answer>>(good.map((each) => [each, withResolvers<Answer>()]))
  void askedFor(good, configFile).then((names) => {
    const workers = Math.min(Math.ceil(good.length / 16), 4)
    for (let worker = 0; worker < workers; worker++) {
      const share = good.flatMap((of, index) =>
        index % workers === worker ? [{ of, name: names[index] as string }] : [],
      )
      ask(share, configFile, (of, answer) => answers.get(of)?.resolve(answer))
    }
  })
  return destinations.map(async (destination) => {
    const answer = await answers.get(destination)?.promise
    if (answer === undefined) {
      throw new UsageError('bad-destination', `${JSON.stringify(destination)} is not an ssh destination`, {
        next: 'Write user@host, host, ssh://user@host:port, or an alias of ~/.ssh/config.',
      })
    }
    const surroundings = { home: homedir(), env: process.env }
    if (answer.status === 127) return withoutSsh(destination, surroundings)
    if (answer.status !== 0) {
      throw new UsageError('ssh-config', `the ssh configuration for ${destination} cannot be read`, {
        host: destination,
        detail: answer.text.trim(),
        next: `Try: ssh ${[...optionsFor(configFile), destination].join(' ')}`,
      })
    }
    return parseSshConfig(destination, answer.text, surroundings)
  })
}

interface Answer {
  status: number
  text: string
}

const isDestination = (text: string) => text !== '' && !text.startsWith('-') && !/[\s\0]/.test(text)
const optionsFor = (configFile: string | undefined) => ['-G', ...(configFile === undefined ? [] : ['-F', configFile])]

/** Runs `ssh -G` for each, one after the other, and tells each answer as it comes: its status and its output. */
function ask(
  share: readonly { of: string; name: string }[],
  configFile: string | undefined,
  tell: (of: string, answer: Answer) => void,
) {
  const only = share.length === 1 ? share[0] : undefined
  if (only) return askOne(only, configFile, tell)
  const loop =
    'f=$1; shift; for d; do if [ -n "$f" ]; then o=$(ssh -G -F "$f" -- "$d" 2>&1 </dev/null); else o=$(ssh -G -- "$d" 2>&1 </dev/null); fi; printf "%s\\0%s\\0" "$?" "$o"; done'
  const child = spawn('sh', ['-c', loop, 'sh', configFile ?? '', ...share.map(({ name }) => name)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let next = 0
  let held = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (held + text).split('\0')
    held = parts.pop() ?? ''
    if (parts.length % 2 === 1) held = `${parts.pop()}\0${held}`
    for (let index = 0; index < parts.length; index += 2) {
      tell((share[next++] as { of: string }).of, { status: Number(parts[index]), text: parts[index + 1] as string })
    }
  })
  const rest = () => {
    while (next < share.length) tell((share[next++] as { of: string }).of, { status: 127, text: '' })
  }
  child.once('error', rest)
  child.once('close', rest)
}

/** The same for one, without a shell in between. */
function askOne(
  { of, name }: { of: string; name: string },
  configFile: string | undefined,
  tell: (of: string, answer: Answer) => void,
) {
  const child = spawn('ssh', [...optionsFor(configFile), '--', name], { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  let complaint = ''
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more
  })
  child.stderr.setEncoding('utf8').on('data', (more: string) => {
    complaint += more
  })
  child.once('error', () => tell(of, { status: 127, text: '' }))
  child.once('close', (status) => tell(of, { status: status ?? 255, text: status === 0 ? text : complaint + text }))
}

/** What OpenSSH's defaults would be, where there is no ssh client to ask. */
function withoutSsh(
  destination: string,
  surroundings: { home: string; env: Readonly<Record<string, string | undefined>> },
): SshConfig {
  const uri = /^(?:ssh:\/\/)?(?:([^@]+)@)?(\[[^\]]+\]|[^:/]+)(?::(\d+))?\/?$/.exec(destination)
  const [, user, host, port] = uri ?? []
  const dir = `${surroundings.home}/.ssh`
  const lines = [
    `hostname ${(host ?? destination).replace(/^\[(.*)\]$/, '$1')}`,
    `user ${user ?? userInfo().username}`,
    `port ${port ?? 22}`,
    ...['id_rsa', 'id_ecdsa', 'id_ed25519'].map((name) => `identityfile ${dir}/${name}`),
    `userknownhostsfile ${dir}/known_hosts ${dir}/known_hosts2`,
    'globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2',
    'stricthostkeychecking ask',
  ]
  return {
    ...parseSshConfig(destination, lines.join('\n'), surroundings),
    note: 'there is no ssh client here, so ~/.ssh/config was not read',
  }
}
