/**
 * Lets a local rsync speak over a connection that stands already. rsync starts the bridge as its remote shell: a small
 * `sh` that inherits two descriptors from us, sends the arguments and splices the bytes. Nothing is installed, no
 * second handshake is made, and no socket has a path.
 */
import { Socket, type SocketConstructorOpts } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Secret } from '../shell/index.ts'
import type { Channel, RsyncShell, Transport } from './transport.ts'

// Descriptor 3 carries bytes both ways, 4 the exit status back. The arguments go first: how many, then each ended by
// NUL. Double quotes only: rsync splits the text of -e by its own rules, which know quotes but no escapes.
const script = [
  'printf "%s\\n" "$#" >&3',
  'printf "%s\\0" "$@" >&3',
  'exec 5<&0',
  'cat <&5 >&3 5<&- 4<&- & p=$!',
  'cat <&3 3>&- 4<&- 5<&-',
  'read -r rc <&4 || rc=255',
  'kill $p 2>/dev/null',
  'exit "$rc"',
].join('\n')

export const bridgeCommand = `sh -c '${script}' slipway-rsync`

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
    attach: (child) => splice(exec, child, greeting),
  }
}

async function splice(
  exec: Transport['exec'],
  child: { stdio: readonly unknown[]; once?: unknown },
  greeting: Greeting | undefined,
): Promise<void> {
  const words = argumentReader()
  const { socket: bytes, deliver } = reusingMemory(child.stdio[3] as Duplex)
  const status = child.stdio[4] as Duplex
  bytes.on('error', () => {})
  status.on('error', () => {})
  let channel: Channel | undefined
  // Once rsync is gone nobody reads these; waiting for its `close` would wait for them.
  const drop = () => {
    bytes.destroy()
    status.destroy()
    channel?.close()
  }
  if ('once' in child && typeof child.once === 'function') child.once('exit', () => setImmediate(drop))
  try {
    deliver(words.take)
    bytes.once('end', words.ended)
    bytes.once('close', words.ended)
    const { words: argv, rest } = await words.read
    const opened = await exec(remoteCommand(argv))
    channel = opened
    opened.stdin.on('error', () => {})
    if (greeting) opened.stdin.write(`${greeting.line.reveal()}\n`)
    if (rest.length > 0) opened.stdin.write(rest)
    deliver((chunk, done) => {
      if (opened.stdin.write(chunk, done)) return true
      opened.stdin.once('drain', () => bytes.resume())
      return false
    })
    if (bytes.readableEnded) opened.stdin.end()
    else bytes.once('end', () => opened.stdin.end())
    // It was paused after the arguments.
    bytes.resume()
    const answer = opened.stdout
    const complaints: Buffer[] = []
    opened.stderr.on('data', (chunk: Buffer) => {
      if (complaints.length < 100) complaints.push(chunk)
    })
    await new Promise<void>((resolve) => {
      answer.on('data', (chunk: Buffer) => {
        if (!bytes.write(chunk)) {
          answer.pause()
          bytes.once('drain', () => answer.resume())
        }
      })
      answer.once('end', () => resolve())
      answer.once('close', () => resolve())
      bytes.once('close', () => resolve())
    })
    const { exitCode } = await opened.exit
    bytes.end()
    if (complaints.length > 0) {
      const text = Buffer.concat(complaints).toString()
      ;(child as { remoteStderr?: string }).remoteStderr = greeting ? text.replace(greeting.prompt, '') : text
    }
    status.end(`${exitCode ?? 255}\n`)
  } catch (error) {
    ;(child as { remoteStderr?: string }).remoteStderr = error instanceof Error ? error.message : String(error)
    bytes.end()
    status.end('255\n')
  }
}

/** Takes a chunk, and calls `done` when it is needed no more. False: nothing more, until `resume`. */
type Take = (chunk: Buffer, done: () => void) => boolean

interface Handle {
  reading: boolean
  readStop(): void
  useUserBuffer?: unknown
}

const chunkBytes = 128 * 1024

/**
 * `pipe`, whose chunks are read into buffers that are used again: a fresh one for each would be most of the work of
 * passing bytes on. Nothing may have been read from it yet. Where Node is not as expected, it stays an ordinary stream.
 */
function reusingMemory(pipe: Duplex): { socket: Duplex; deliver(take: Take): void } {
  let take: Take = () => false
  const deliver = (next: Take) => {
    take = next
  }
  const handle = (pipe as { _handle?: Handle })._handle
  if (!handle || typeof handle.readStop !== 'function' || typeof handle.useUserBuffer !== 'function') {
    pipe.on('data', (chunk: Buffer) => {
      if (!take(chunk, () => {})) pipe.pause()
    })
    return { socket: pipe, deliver }
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

/** Takes the bridge's arguments off the beginning of what it sends. */
function argumentReader() {
  let held: Buffer = Buffer.alloc(0)
  let resolve: (read: { words: string[]; rest: Buffer }) => void
  let reject: (error: Error) => void
  const read = new Promise<{ words: string[]; rest: Buffer }>((settle, fail) => {
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

/** `3\na\0b\0c\0rest`: the arguments and what follows; undefined while incomplete. */
export function parseArguments(held: Buffer): { words: string[]; rest: Buffer } | undefined {
  const newline = held.indexOf(10)
  if (newline < 0) return undefined
  const count = Number(held.toString('latin1', 0, newline))
  const words: string[] = []
  let from = newline + 1
  for (let index = 0; index < count; index++) {
    const end = held.indexOf(0, from)
    if (end < 0) return undefined
    words.push(held.toString('utf8', from, end))
    from = end + 1
  }
  return { words, rest: held.subarray(from) }
}

/** `-l user host rsync --server …` as the host is given it: what ssh does, join with spaces. */
export function remoteCommand(words: readonly string[]): string {
  const rest = words[0] === '-l' ? words.slice(2) : words
  return rest.slice(1).join(' ')
}
