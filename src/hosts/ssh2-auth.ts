/** What to try, in OpenSSH's order: agent keys, key files, keyboard-interactive, password. Says what was tried. */
import type { AuthenticationType, AuthHandlerMiddleware, ParsedKey } from 'ssh2'
import { currentRun } from '../events/run.ts'
import { Secret } from '../shell/index.ts'
import { agentKeys } from './agent-keys.ts'
import { fingerprint } from './known-hosts.ts'
import { within } from './promises.ts'
import { readOnce, textOnce } from './read-once.ts'
import type { SshConfig } from './ssh-config.ts'
import { loadSsh2 } from './ssh2-library.ts'

export interface AuthPlan {
  readonly handler: AuthHandlerMiddleware
  /** One entry for each thing tried or passed over, in order. */
  readonly tried: string[]
  /** Keys that only the system's ssh can use: certificates, security keys. */
  readonly beyond: string[]
  /** Whether a person, or an agent that may ask one, is being asked. */
  isWaiting(): boolean
}

interface Candidate {
  readonly label: string
  // biome-ignore lint/suspicious/noExplicitAny: ssh2's type for methods leaves out the agent's per-key form
  readonly method: any
  readonly kind: AuthenticationType
}

export function planAuth(config: SshConfig): AuthPlan {
  const tried: string[] = []
  const beyond: string[] = []
  let asked = 0
  const asking = () => {
    asked += 1
    return () => {
      asked -= 1
    }
  }
  const queue = candidates(config, tried, beyond, asking)
  // Pulled one ahead, so that nothing is asked of the person (passphrase, password) before it is needed.
  let rejectedKinds = new Set<string>()
  let first = true
  const handler = (left: string[] | null, _partial: boolean | null, next: (method: unknown) => void) => {
    const pull = async () => {
      for (;;) {
        const { value, done } = await queue.next(left)
        if (done || value === undefined) return next(false)
        if (!first && left && !left.includes(value.kind === 'agent' ? 'publickey' : value.kind)) {
          if (!rejectedKinds.has(value.kind)) tried.push(`${value.label}: not accepted by the server`)
          rejectedKinds = rejectedKinds.add(value.kind)
          continue
        }
        first = false
        tried.push(value.label)
        return next(value.method)
      }
    }
    const answered = asking()
    pull()
      .catch((error: unknown) => {
        tried.push(String(error instanceof Error ? error.message : error))
        next(false)
      })
      .finally(answered)
  }
  return { handler: handler as unknown as AuthHandlerMiddleware, tried, beyond, isWaiting: () => asked > 0 }
}

async function* candidates(
  config: SshConfig,
  tried: string[],
  beyond: string[],
  asking: () => () => void,
): AsyncGenerator<Candidate, undefined, string[] | null> {
  const username = config.user
  const { utils } = loadSsh2()
  if (config.pubkeyAuthentication) {
    const usable = await agentIdentities(config, tried)
    const publicParts = new Set<string>()
    for (const file of config.identityFiles) {
      const blob = await publicBlob(file)
      if (blob) publicParts.add(blob)
    }
    const inConfig = usable.filter((key) => publicParts.has(blobOf(key)))
    const others = config.identitiesOnly ? [] : usable.filter((key) => !publicParts.has(blobOf(key)))
    const offered = new Set<string>()
    for (const key of [...inConfig, ...others]) {
      const label = `agent key ${key.type} ${fingerprint(key.getPublicSSH())}`
      offered.add(blobOf(key))
      yield { kind: 'agent', label, method: { type: 'agent', username, agent: singleKeyAgent(config, key, asking) } }
    }
    for (const file of config.identityFiles) {
      const text = await readOnce(file)
      if (text instanceof Error) {
        // The defaults of ssh -G are listed whether or not they exist.
        if (text.code !== 'ENOENT') tried.push(`${file}: ${text.code ?? text.message}`)
        continue
      }
      const blob = await publicBlob(file)
      if (blob && offered.has(blob)) continue
      const pub = (await textOnce(`${file}.pub`)) ?? ''
      if (/^(sk-|\S+-cert-v01)/.test(pub) || isSecurityKey(text)) {
        beyond.push(file)
        continue
      }
      const key = await openKey(file, text, tried, utils)
      if (key) yield { kind: 'publickey', label: `key ${file}`, method: { type: 'publickey', username, key } }
    }
  }
  if (config.pubkeyAuthentication && config.identityAgent !== undefined) {
    const named = new Set(await Promise.all(config.identityFiles.map(publicBlob)))
    for (const { type, blob } of await agentKeys(config.identityAgent)) {
      if (!/^sk-|-cert-v01/.test(type) || (config.identitiesOnly && !named.has(blob.toString('base64')))) continue
      beyond.push(`agent key ${type} ${fingerprint(blob)}`)
    }
  }
  // Keys before passwords, as OpenSSH does: the system's ssh goes on from here.
  if (beyond.length > 0 && config.note === undefined) return undefined
  const run = currentRun()
  if (config.batchMode || !run.prompter.interactive) {
    if (config.passwordAuthentication) tried.push('password: there is no terminal to ask for one')
    return undefined
  }
  if (config.kbdInteractiveAuthentication) {
    yield {
      kind: 'keyboard-interactive',
      label: 'keyboard-interactive',
      method: {
        type: 'keyboard-interactive',
        username,
        prompt(
          _name: string,
          instructions: string,
          _language: string,
          prompts: { prompt: string; echo?: boolean }[],
          finish: (answers: string[]) => void,
        ) {
          const ask = async () => {
            const answers: string[] = []
            for (const { prompt, echo } of prompts) {
              const message = `${instructions ? `${instructions} ` : ''}${config.destination}: ${prompt.trim()}`
              answers.push(echo ? await run.prompter.text(message) : await askHidden(message))
            }
            finish(answers)
          }
          const answered = asking()
          ask()
            .catch(() => finish([]))
            .finally(answered)
        },
      },
    }
  }
  if (config.passwordAuthentication) {
    for (let attempt = 0; attempt < 3; attempt++) {
      const password = await askHidden(`Password of ${username} on ${config.destination}`)
      yield { kind: 'password', label: 'password', method: { type: 'password', username, password } }
    }
  }
  return undefined
}

async function askHidden(message: string): Promise<string> {
  const run = currentRun()
  const answer = await run.prompter.password(message)
  if (answer !== '') run.secrets.add(new Secret(answer, 'password'))
  return answer
}

/** Reads a key file; an encrypted one is asked for once a run. */
async function openKey(
  file: string,
  text: Buffer,
  tried: string[],
  utils: typeof import('ssh2')['utils'],
): Promise<ParsedKey | undefined> {
  const parsed = currentRun().memo(`parsed-key:${file}`, () => utils.parseKey(text))
  if (!(parsed instanceof Error)) return Array.isArray(parsed) ? parsed[0] : parsed
  if (!/encrypted|passphrase/i.test(parsed.message)) {
    tried.push(`${file}: ${parsed.message}`)
    return undefined
  }
  const run = currentRun()
  if (!run.prompter.interactive) {
    tried.push(`${file}: it has a passphrase, and there is no terminal to ask for it (ssh-add ${file})`)
    return undefined
  }
  return run.memo(`ssh-key:${file}`, async () => {
    for (let attempt = 0; attempt < 3; attempt++) {
      const passphrase = await askHidden(`Passphrase of ${file}`)
      const key = utils.parseKey(text, passphrase)
      if (!(key instanceof Error)) return Array.isArray(key) ? key[0] : key
    }
    tried.push(`${file}: wrong passphrase`)
    return undefined
  })
}

/** sk- key files name their type in clear, after the header of the OpenSSH format. */
function isSecurityKey(text: Buffer): boolean {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]+?)-----END/.exec(text.toString('latin1'))?.[1]
  return body !== undefined && Buffer.from(body, 'base64').subarray(0, 400).includes('sk-')
}

async function publicBlob(file: string): Promise<string | undefined> {
  const text = await textOnce(file.endsWith('.pub') ? file : `${file}.pub`)
  return text?.split(' ')[1]
}

const blobOf = (key: ParsedKey) => key.getPublicSSH().toString('base64')

/** An agent may stand still, as one that is forwarded over a connection that does. */
const agentAnswersWithinMs = 2000

async function agentIdentities(config: SshConfig, tried: string[]): Promise<ParsedKey[]> {
  const socket = config.identityAgent
  if (socket === undefined) return []
  const agent = loadSsh2().createAgent(socket)
  const listed = new Promise<ParsedKey[]>((resolve) => {
    agent.getIdentities((error, keys) => {
      if (error) tried.push(`agent ${socket}: ${error.message}`)
      resolve((keys ?? []) as ParsedKey[])
    })
  })
  const keys = await within(agentAnswersWithinMs, listed)
  if (!keys) tried.push(`agent ${socket}: it did not say within ${agentAnswersWithinMs / 1000} s which keys it has`)
  return keys ?? []
}

/** An agent that has but one key, so that the server is offered them one at a time, in our order. */
function singleKeyAgent(config: SshConfig, only: ParsedKey, asking: () => () => void) {
  const { OpenSSHAgent } = loadSsh2()
  const agent = new OpenSSHAgent(config.identityAgent as string)
  agent.getIdentities = (callback) => callback(undefined, [only])
  // A key may be one that its owner confirms at each use.
  const sign = agent.sign.bind(agent) as (...words: unknown[]) => void
  agent.sign = ((...words: unknown[]) => {
    const answered = asking()
    const done = words.pop() as (...answer: unknown[]) => void
    sign(...words, (...answer: unknown[]) => {
      answered()
      done(...answer)
    })
  }) as typeof agent.sign
  return agent
}
