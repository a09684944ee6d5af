/**
 * Keeps one session channel of an ssh2 connection open ahead of the next command. A channel's opening is a round trip
 * and the command is another: with the channel there already, a command costs one. Every command still has a channel
 * of its own, which is used once.
 */
import type { Client, ClientChannel, ExecOptions } from 'ssh2'

type Done = (error: Error | undefined, channel: ClientChannel) => void

export interface SpareChannel {
  /** Takes the waiting channel: what starts a command on it, or undefined where none waits. */
  take(): ((command: string, done: Done) => void) | undefined
  /** Has one opened, unless one waits or the server was found to have no room. */
  refill(): void
  /** The server has no room for a channel more: what waits is let go, and nothing waits any more. */
  giveUp(): void
}

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
  let opening: Spare | undefined
  let waiting: Spare | undefined
  protocol.exec = function (channel, command, wantReply) {
    if (command !== word || !opening) return send.call(this, channel, command, wantReply)
    waiting = opening
    opening = undefined
    waiting.start = (real) => send.call(this, channel, real, wantReply)
    if (off) letGo()
  }

  const take = () => {
    const mine = waiting
    waiting = undefined
    if (!mine) return undefined
    return (command: string, done: Done) => {
      mine.done = done
      mine.start?.(command)
    }
  }

  /** Ended as any channel ends: with a command, one that does nothing. */
  function letGo(): void {
    take()?.(':', (_error, channel) => channel?.resume())
  }

  return {
    take,
    refill() {
      if (off || opening || waiting) return
      const mine: Spare = {}
      opening = mine
      // Refused, or closed before it was wanted: then each command opens its own, as if this did not exist.
      const failed = () => {
        off = true
        if (opening === mine) opening = undefined
        if (waiting === mine) waiting = undefined
      }
      try {
        client.exec(word, options, (error, channel) => (mine.done ? mine.done(error, channel) : failed()))
      } catch {
        // The connection is gone, which its commands tell.
        failed()
      }
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
