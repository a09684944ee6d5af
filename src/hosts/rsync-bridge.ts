/**
 * Lets a local rsync speak over a connection that stands already. rsync starts the bridge as its remote shell: a small
 * `sh` that inherits descriptors from us, sends the arguments, and hands rsync's sockets over or, where that can't be,
 * splices the bytes. Nothing is installed, no second handshake is made, and no socket has a path.
 */
import { Socket, type SocketConstructorOpts } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Secret } from '../shell/index.ts'
import { canPassSockets, type Handle, passedSockets, passingProgram } from './passed-sockets.ts'
import type { Channel, RsyncChild, RsyncShell, Transport } from './transport.ts'

// Descriptor 3 carries the arguments and, where they are spliced, bytes both ways; 4 the exit status back. The arguments
// go first: how many and how the bytes come, then each ended by NUL. Double quotes only: rsync splits the text of -e by
// its own rules, which know quotes but no escapes.
const script = [
  'how=spliced',
  '[ -z "$SLIPWAY_BRIDGE" ] || ! command -v perl >/dev/null || how=passed',
  'printf "%s %s\\n" "$#" $how >&3',
  'printf "%s\\0" "$@" >&3',
  '[ $how = spliced ] || exec perl -e "$SLIPWAY_BRIDGE"',
  'exec 5<&0',
  'cat <&5 >&3 5<&- 4<&- & p=$!',
  'cat <&3 3>&- 4<&- 5<&-',
  'read -r rc <&4 || rc=255',
  'kill $p 2>/dev/null',
  'exit "$rc"',
].join('\n')

const bridgeCommand = `sh -c '${script}' slipway-rsync`

/** What sudo on the host is given before rsync speaks: a line, at a prompt that is left out of what was complained of. */
export interface Greeting {
  readonly line: Secret
  readonly prompt: string
}

/** What `rsync -e` needs to run over `exec`. One use only. */
export function rsyncBridge(exec: Transport['exec'], greeting?: Greeting): RsyncShell {
  return {
    remoteShell: bridgeCommand,
    extraStdio: 2,
    channel: canPassSockets,
    env: canPassSockets ? { SLIPWAY_BRIDGE: passingProgram } : {},
    attach: (child) => splice(exec, child, greeting),
  }
}

async function splice(exec: Transport['exec'], child: RsyncChild, greeting: Greeting | undefined): Promise<void> {
  const words = argumentReader()
  const passed = passedSockets(child)
  const first = reusingMemory(handleOf(child.stdio[3]), child.stdio[3] as unknown as Duplex)
  const status = child.stdio[4] as unknown as Duplex
  const mine: Duplex[] = []
  const own = (stream: Duplex) => {
    stream.on('error', () => {})
    mine.push(stream)
  }
  own(first.socket)
  own(status)
  let channel: Channel | undefined
  let over = false
  let handedOver = false
  let isTold = false
  // Once rsync is gone nobody reads these; waiting for its `close` would wait for them.
  let late: NodeJS.Timeout | undefined
  const drop = () => {
    over = true
    clearTimeout(late)
    for (const stream of mine) stream.destroy()
    if (child.connected) child.disconnect()
    channel?.close()
  }
  child.once('exit', (code) => {
    // How it ended there may be still to come: rsync did not wait for that.
    if (code === 0 && handedOver && !isTold) late = setTimeout(drop, endsWithinMs)
    else setImmediate(drop)
  })
  try {
    first.deliver(words.take)
    first.socket.once('end', words.ended)
    first.socket.once('close', words.ended)
    const { words: argv, rest, how } = await words.read
    // Asked for at once: the host's rsync starts while the sockets are on their way.
    const opening = exec(remoteCommand(argv))
    opening.catch(() => {})
    const sockets =
      how === 'passed'
        ? await passed.catch(async (error: unknown) => {
            ;(await opening).close()
            throw error
          })
        : undefined
    handedOver = sockets !== undefined
    if (child.connected) child.disconnect()
    const opened = await opening.catch((error: unknown) => {
      // rsync would wait for whoever holds the other ends.
      for (const each of sockets ?? []) each.close()
      if (error instanceof Error) child.refused = error
      throw error
    })
    channel = opened
    if (over) opened.close()
    opened.stdin.on('error', () => {})
    if (greeting) opened.stdin.write(`${greeting.line.reveal()}\n`)
    if (rest.length > 0) opened.stdin.write(rest)
    const input = sockets ? reusingMemory(sockets[0]) : first
    const output = sockets
      ? new Socket({ handle: sockets[1], readable: false, writable: true } as SocketConstructorOpts)
      : first.socket
    if (sockets) {
      own(input.socket)
      own(output)
    }
    input.deliver((chunk, done) => {
      if (opened.stdin.write(chunk, done)) return true
      opened.stdin.once('drain', () => input.socket.resume())
      return false
    })
    if (input.socket.readableEnded) opened.stdin.end()
    else input.socket.once('end', () => opened.stdin.end())
    // It was paused after the arguments.
    input.socket.resume()
    const answer = opened.stdout
    const complaints: Buffer[] = []
    opened.stderr.on('data', (chunk: Buffer) => {
      if (complaints.length < 100) complaints.push(chunk)
    })
    await new Promise<void>((resolve) => {
      answer.on('data', (chunk: Buffer) => {
        if (!output.write(chunk)) {
          answer.pause()
          output.once('drain', () => answer.resume())
        }
      })
      answer.once('end', () => resolve())
      answer.once('close', () => resolve())
      output.once('close', () => resolve())
    })
    const { exitCode } = await opened.exit
    output.end()
    if (complaints.length > 0) {
      const text = Buffer.concat(complaints).toString()
      child.remoteStderr = greeting ? text.replace(greeting.prompt, '') : text
    }
    // Where it is not known, and rsync here has had the last word of the one there, there is nothing to say against it.
    if (sockets) child.remoteExit = exitCode ?? (late ? 0 : 255)
    status.end(`${exitCode ?? 255}\n`)
    // Nobody takes what rsync may still be writing, and it would wait for ever.
    if (sockets) input.socket.destroy()
  } catch (error) {
    child.remoteStderr = error instanceof Error ? error.message : String(error)
    if (handedOver && !late) child.remoteExit = 255
    status.end('255\n')
    for (const stream of mine) if (stream !== status) stream.end()
  } finally {
    isTold = true
    if (late) drop()
  }
}

/** Takes a chunk, and calls `done` when it is needed no more. False: nothing more, until `resume`. */
type Take = (chunk: Buffer, done: () => void) => boolean

const chunkBytes = 128 * 1024
/** How long the host's rsync is waited for once the one here has ended well. */
const endsWithinMs = 10_000

const handleOf = (stream: unknown) => (stream as { _handle?: Handle })._handle

/**
 * A socket, whose chunks are read into buffers that are used again: a fresh one for each would be most of the work of
 * passing bytes on. Nothing may have been read from it yet, and nothing is until `deliver` has been called, in the same
 * turn. Where Node is not as expected, it is an ordinary stream: `pipe`, if there is one.
 */
function reusingMemory(handle: Handle | undefined, pipe?: Duplex): { socket: Duplex; deliver(take: Take): void } {
  let take: Take = () => false
  const deliver = (next: Take) => {
    take = next
  }
  if (typeof handle?.readStop !== 'function' || typeof handle.useUserBuffer !== 'function') {
    const socket = pipe ?? new Socket({ handle } as SocketConstructorOpts)
    socket.on('data', (chunk: Buffer) => {
      if (!take(chunk, () => {})) socket.pause()
    })
    return { socket, deliver }
  }
  handle.readStop()
  handle.reading = false
  const free: Buffer[] = []
  const onread = {
    buffer: () => free.pop() ?? Buffer.allocUnsafeSlow(chunkBytes),
    callback: (length: number, buffer: Buffer) => take(buffer.subarray(0, length), () => free.push(buffer)),
  }
  return { socket: new Socket({ handle, onread } as SocketConstructorOpts), deliver }
}

interface Arguments {
  words: string[]
  rest: Buffer
  how: 'passed' | 'spliced'
}

/** Takes the bridge's arguments off the beginning of what it sends. */
function argumentReader() {
  let held: Buffer = Buffer.alloc(0)
  let resolve: (read: Arguments) => void
  let reject: (error: Error) => void
  const read = new Promise<Arguments>((settle, fail) => {
    resolve = settle
    reject = fail
  })
  read.catch(() => {})
  return {
    read,
    take: ((chunk, done) => {
      // A copy: the memory of `chunk` is used again.
      held = Buffer.concat([held, chunk])
      done()
      const parsed = parseArguments(held)
      if (parsed) resolve(parsed)
      return parsed === undefined
    }) satisfies Take,
    ended: () => reject(new Error('rsync ended before it connected')),
  }
}

/** `3 spliced\na\0b\0c\0rest`: the arguments, how bytes come, and what follows; undefined while incomplete. */
export function parseArguments(held: Buffer): Arguments | undefined {
  const newline = held.indexOf(10)
  if (newline < 0) return undefined
  const [digits, how] = held.toString('latin1', 0, newline).split(' ')
  const count = Number(digits)
  const words: string[] = []
  let from = newline + 1
  for (let index = 0; index < count; index++) {
    const end = held.indexOf(0, from)
    if (end < 0) return undefined
    words.push(held.toString('utf8', from, end))
    from = end + 1
  }
  return { words, rest: held.subarray(from), how: how === 'passed' ? how : 'spliced' }
}

/** `-l user host rsync --server …` as the host is given it: what ssh does, join with spaces. */
export function remoteCommand(words: readonly string[]): string {
  const rest = words[0] === '-l' ? words.slice(2) : words
  return rest.slice(1).join(' ')
}
