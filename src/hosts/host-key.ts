/** Decides whether a server's key may be trusted: reads the known_hosts files, asks, remembers. */
import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { currentRun } from '../events/run.ts'
import { quote } from '../shell/index.ts'
import { ConnectError } from './errors.ts'
import {
  fingerprint,
  hasCertAuthority,
  judgeHostKey,
  type KnownHostsFile,
  keyTypeOf,
  knownHostsLine,
  knownHostsName,
  knownKeyTypes,
} from './known-hosts.ts'
import { textOnce } from './read-once.ts'
import type { SshConfig } from './ssh-config.ts'

export interface HostKeyCheck {
  /** Key types on record, to be preferred. */
  readonly knownTypes: readonly string[]
  readonly wantsCertificates: boolean
  /** Resolves if the key is trusted, else rejects with a ConnectError that says why and what to do. */
  verify(key: Buffer): Promise<void>
}

export async function hostKeyCheck(config: SshConfig): Promise<HostKeyCheck> {
  const paths = [...config.userKnownHostsFiles, ...config.globalKnownHostsFiles]
  const files: KnownHostsFile[] = []
  for (const path of paths) {
    const text = await textOnce(path)
    if (text !== undefined) files.push({ path, text })
  }
  // An alias stands for the host whatever its port.
  const host = config.hostKeyAlias ?? config.hostName
  const port = config.hostKeyAlias === undefined ? config.port : 22
  return {
    knownTypes: knownKeyTypes(files, host, port),
    wantsCertificates: hasCertAuthority(files, host, port),
    verify: (key) => verify(config, files, host, port, key),
  }
}

async function verify(
  config: SshConfig,
  files: readonly KnownHostsFile[],
  host: string,
  port: number,
  key: Buffer,
): Promise<void> {
  const name = knownHostsName(host, port)
  const shown = `${keyTypeOf(key)} ${fingerprint(key)}`
  const judged = judgeHostKey(files, host, port, key)
  if (judged.verdict === 'known') return
  if (judged.verdict === 'revoked') {
    throw new ConnectError('host-key-revoked', `the key that ${config.destination} showed is marked @revoked`, {
      host: config.destination,
      detail: `${shown}\n${judged.line.file}:${judged.line.line}`,
      state: 'Nothing was sent to it: whoever answers holds a key that must not be trusted.',
      next: 'Ask whoever runs the host for its new key.',
    })
  }
  if (judged.verdict === 'changed') {
    const line = judged.lines[0]
    const file = line?.file ?? ''
    throw new ConnectError('host-key-changed', `the host key of ${config.destination} has changed`, {
      host: config.destination,
      detail: [
        `it showed    ${shown}`,
        ...judged.lines.map(
          (known) =>
            `on record is ${known.keyType} ${fingerprint(Buffer.from(known.key, 'base64'))} (${known.file}:${known.line})`,
        ),
      ].join('\n'),
      state: 'Nothing was sent to it: someone else may be answering in its name.',
      next: `If the host was reinstalled: ssh-keygen -R ${quote(name)} -f ${quote(file)}, then connect again.`,
    })
  }
  if (config.strictHostKeyChecking === 'no' || config.strictHostKeyChecking === 'accept-new') {
    return remember(config, host, port, key, shown)
  }
  const run = currentRun()
  if (config.strictHostKeyChecking === 'ask' && run.prompter.interactive) {
    const question = `The host ${name} is not known. Its key is ${shown}. Trust it, and remember it?`
    if (await run.prompter.confirm(question)) return remember(config, host, port, key, shown)
  }
  throw new ConnectError('host-key-unknown', `the host key of ${config.destination} is not known`, {
    host: config.destination,
    detail: `${name} showed ${shown}`,
    state: 'Nothing was sent to it.',
    next: `Compare the fingerprint with the host's, then connect once on a terminal: ssh ${config.destination}`,
  })
}

async function remember(config: SshConfig, host: string, port: number, key: Buffer, shown: string): Promise<void> {
  const file = config.userKnownHostsFiles[0]
  if (file === undefined || file === '/dev/null') return
  const line = knownHostsLine(host, port, key, config.hashKnownHosts)
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    const before = await readFile(file, 'utf8').catch(() => '')
    await appendFile(file, `${before === '' || before.endsWith('\n') ? '' : '\n'}${line}\n`, { mode: 0o600 })
    currentRun().emit({ type: 'note', host: config.destination, text: `added ${shown} to ${file}` })
  } catch (error) {
    const text = `the key of ${config.destination} could not be added to ${file}: ${String(error)}`
    currentRun().emit({ type: 'warning', host: config.destination, text })
  }
}
