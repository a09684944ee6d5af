/**
 * Lets a local rsync speak over a connection that stands already. rsync starts the bridge as its remote shell: a small
 * `sh` that inherits two descriptors from us, sends the arguments and splices the bytes. Nothing is installed, no
 * second handshake is made, and no socket has a path.
 */
import type { Duplex, Readable, Writable } from 'node:stream'
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

/** What `rsync -e` needs to run over `exec`. One use only. */
export function rsyncBridge(exec: Transport['exec']): RsyncShell {
  return {
    remoteShell: bridgeCommand,
    extraStdio: 2,
    attach: (child) => splice(exec, child),
  }
}

async function splice(exec: Transport['exec'], child: { stdio: readonly unknown[]; once?: unknown }): Promise<void> {
  const bytes = child.stdio[3] as Duplex
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
    const { words, rest } = await readArguments(bytes)
    // rsync speaks first, whichever way the files go: what it says goes with the command.
    const beginning = rest.length > 0 ? rest : await firstChunk(bytes)
    channel = await exec(remoteCommand(words), { input: { data: beginning, more: true } })
    if (!channel.fed && beginning.length > 0) channel.stdin.write(beginning)
    pipe(bytes, channel.stdin)
    const answer = channel.stdout
    const complaints: Buffer[] = []
    channel.stderr.on('data', (chunk: Buffer) => {
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
    const { exitCode } = await channel.exit
    bytes.end()
    if (complaints.length > 0) (child as { remoteStderr?: string }).remoteStderr = Buffer.concat(complaints).toString()
    status.end(`${exitCode ?? 255}\n`)
  } catch (error) {
    ;(child as { remoteStderr?: string }).remoteStderr = error instanceof Error ? error.message : String(error)
    bytes.end()
    status.end('255\n')
  }
}

function pipe(from: Readable, to: Writable): void {
  from.on('data', (chunk: Buffer) => {
    if (!to.write(chunk)) {
      from.pause()
      to.once('drain', () => from.resume())
    }
  })
  from.once('end', () => to.end())
  // It was paused after the arguments, and a listener alone does not set a paused stream going.
  from.resume()
  to.on('error', () => {})
}

/** The next bytes of a paused stream; none where it has ended. */
function firstChunk(stream: Duplex): Promise<Buffer> {
  return new Promise((resolve) => {
    const done = (chunk: Buffer) => {
      stream.off('data', done)
      stream.off('end', ended)
      stream.off('close', ended)
      stream.pause()
      resolve(chunk)
    }
    const ended = () => done(Buffer.alloc(0))
    stream.on('data', done)
    stream.on('end', ended)
    stream.on('close', ended)
    stream.resume()
  })
}

/** Reads the bridge's arguments off the beginning of the stream. */
async function readArguments(stream: Duplex): Promise<{ words: string[]; rest: Buffer }> {
  let held: Buffer = Buffer.alloc(0)
  return new Promise((resolve, reject) => {
    const done = () => {
      stream.off('data', onData)
      stream.off('end', onEnd)
      stream.off('close', onEnd)
      stream.pause()
    }
    const onEnd = () => {
      done()
      reject(new Error('rsync ended before it connected'))
    }
    const onData = (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      const parsed = parseArguments(held)
      if (!parsed) return
      done()
      resolve(parsed)
    }
    stream.on('data', onData)
    stream.on('end', onEnd)
    stream.on('close', onEnd)
  })
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
