/**
 * Sends a command's input, its beginning, or the word that there is none, right behind the command itself. ssh2 would
 * have it wait until the server has answered that the command was started: that is a round trip for every command.
 */
import type { Client } from 'ssh2'

export interface EarlyInput {
  /**
   * `input`, and its end unless there is `more`, go behind `command`, which is about to be started. `sent` tells
   * whether they did.
   */
  behind(command: string, input: Uint8Array, more: boolean): { readonly sent: boolean }
}

/** What is longer goes at the server's pace, which is told when the command has started. */
const longestInput = 64 * 1024

interface Internals {
  _protocol?: {
    exec?(channel: number, command: string, wantReply: boolean): void
    channelData?(channel: number, data: Uint8Array): void
  }
  _chanMgr?: { _channels?: Record<number, Opened | undefined> }
  _remoteVer?: string
}

interface Opened {
  outgoing?: { id: number; window: number; packetSize: number }
  end?(): void
}

/** Where ssh2 is not as expected, nothing is ever sent early. */
export function earlyInput(client: Client): EarlyInput {
  const internals = client as unknown as Internals
  const protocol = internals._protocol
  const send = protocol?.exec
  if (!protocol || typeof send !== 'function' || typeof protocol.channelData !== 'function') {
    return { behind: () => ({ sent: false }) }
  }
  const waiting = new Map<string, { input: Uint8Array; more: boolean; sent: boolean }>()
  protocol.exec = function (channel, command, wantReply) {
    send.call(this, channel, command, wantReply)
    const early = waiting.get(command)
    if (!early) return
    waiting.delete(command)
    const opened = Object.values(internals._chanMgr?._channels ?? {}).find((each) => each?.outgoing?.id === channel)
    if (!opened?.outgoing || !opened.end) return
    const { outgoing } = opened
    const { input, more } = early
    // OpenSSH opens a session without room for input, and makes two megabytes of it as it starts the command, which it
    // reads first: what is sent now is taken off that. Of other servers the room they have told of is kept to.
    const room = outgoing.window >= input.length
    if (!room && !(outgoing.window === 0 && /^OpenSSH/.test(internals._remoteVer ?? ''))) return
    early.sent = true
    for (let from = 0; from < input.length; from += outgoing.packetSize) {
      this.channelData?.(channel, input.subarray(from, from + outgoing.packetSize))
    }
    outgoing.window -= input.length
    if (!more) opened.end()
  }
  return {
    behind(command, input, more) {
      const early = { input, more, sent: false }
      if (input.length <= longestInput) waiting.set(command, early)
      return early
    },
  }
}
