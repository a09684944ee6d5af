/**
 * Keeps session channels of an ssh2 connection open ahead of the next commands. A channel's opening is a round trip
 * and the command is another: with the channel there already, a command costs one. Every command still has a channel
 * of its own, which is used once.
 */
import type { Client, ClientChannel, ExecOptions } from 'ssh2'

type Done = (error: Error | undefined, channel: ClientChannel) => void

export interface SpareChannel {
  /** Takes a waiting channel: what starts a command on it, or undefined where none waits. */
  take(): ((command: string, done: Done) => void) | undefined
  /** Has as many opened as are wanting, unless the server was found to have no room. */
  refill(): void
  /** The server has no room for a channel more: what waits is let go, and nothing waits any more. */
  giveUp(): void
}

/** Two commands often go at once: what changes something, and what is asked meanwhile. */
const keep = 2

interface Protocol {
  exec?(channel: number, command: string, wantReply: boolean): void
}

/** `options` are what every command of this connection is started with. Where ssh2 is not as expected, none ever waits. */
export function spareChannel(client: Client, options: ExecOptions): SpareChannel {
  const protocol = (client as unknown as { _protocol?: Protocol })._protocol
  const send = protocol?.exec
  if (!protocol || typeof send !== 'function') return { take: () => undefined, refill() {}, giveUp() {} }

  // ssh2 opens a channel and asks for the command in one go. In place of the command it is given a word that no
  // command can be, and held back where that word would be sent.
  const word = '\0spare'
  let off = false
  /** Asked for, in this order: that is the order in which the server opens them. */
  const opening: Spare[] = []
  const waiting: Spare[] = []
  protocol.exec = function (channel, command, wantReply) {
    const mine = command === word ? opening.shift() : undefined
    if (!mine) return send.call(this, channel, command, wantReply)
    mine.start = (real) => send.call(this, channel, real, wantReply)
    waiting.push(mine)
    if (off) letGo()
  }

  const take = () => {
    const mine = waiting.shift()
    if (!mine) return undefined
    return (command: string, done: Done) => {
      mine.done = done
      mine.start?.(command)
    }
  }

  /** Ended as any channel ends: with a command, one that does nothing. */
  function letGo(): void {
    for (let start = take(); start; start = take()) start(':', (_error, channel) => channel?.resume())
  }

  const open = () => {
    const mine: Spare = {}
    opening.push(mine)
    // Refused, or closed before it was wanted: then each command opens its own, as if this did not exist.
    const failed = () => {
      off = true
      for (const list of [opening, waiting]) if (list.includes(mine)) list.splice(list.indexOf(mine), 1)
    }
    try {
      client.exec(word, options, (error, channel) => (mine.done ? mine.done(error, channel) : failed()))
    } catch {
      // The connection is gone, which its commands tell.
      failed()
    }
  }

  return {
    take,
    refill() {
      while (!off && opening.length + waiting.length < keep) open()
    },
    giveUp() {
      off = true
      letGo()
    },
  }
}

interface Spare {
  start?: (command: string) => void
  done?: Done
}
