/**
 * The keys that an ssh agent holds, by its own protocol (draft-miller-ssh-agent, section 3.5): ssh2 leaves out of its
 * list what it cannot use itself, security keys above all.
 */
import { connect } from 'node:net'

export interface AgentKey {
  readonly type: string
  readonly blob: Buffer
}

/** `SSH_AGENTC_REQUEST_IDENTITIES`, and the type of its answer. */
const request = Buffer.from([0, 0, 0, 1, 11])
const answerType = 12
/** What an agent answers is short; an agent that says nothing has nothing to say. */
const longest = 1024 * 1024
const patienceMs = 2000

/** Empty where there is no agent, or one that does not answer as agents do. */
export function agentKeys(socketPath: string): Promise<AgentKey[]> {
  return new Promise((resolve) => {
    const socket = connect(socketPath)
    let held: Buffer = Buffer.alloc(0)
    const done = (keys: AgentKey[]) => {
      socket.destroy()
      resolve(keys)
    }
    socket.setTimeout(patienceMs, () => done([]))
    socket.on('error', () => done([]))
    socket.on('close', () => resolve([]))
    socket.on('data', (chunk) => {
      held = Buffer.concat([held, chunk])
      if (held.length > longest) return done([])
      if (held.length >= 4 && held.length >= 4 + held.readUInt32BE(0)) done(parseIdentities(held.subarray(4)))
    })
    socket.write(request)
  })
}

/** The keys in `SSH_AGENT_IDENTITIES_ANSWER`; those before the place where it is not as it should be. Pure. */
export function parseIdentities(answer: Buffer): AgentKey[] {
  const keys: AgentKey[] = []
  if (answer[0] !== answerType || answer.length < 5) return keys
  let at = 5
  const take = (): Buffer | undefined => {
    if (at + 4 > answer.length) return undefined
    const end = at + 4 + answer.readUInt32BE(at)
    if (end > answer.length) return undefined
    const bytes = answer.subarray(at + 4, end)
    at = end
    return bytes
  }
  for (let left = answer.readUInt32BE(1); left > 0; left--) {
    const blob = take()
    if (!blob || !take() || blob.length < 4) return keys
    keys.push({ type: blob.toString('latin1', 4, 4 + blob.readUInt32BE(0)), blob })
  }
  return keys
}
