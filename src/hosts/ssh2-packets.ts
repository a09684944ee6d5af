/**
 * Much data over an ssh2 connection at less cost: packets are written together, their memory is used again, and no
 * more is sent ahead of the host than it keeps up with. All of it is about time only; where ssh2 is not as expected,
 * nothing changes.
 */
import { randomFillSync } from 'node:crypto'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Client } from 'ssh2'

/** Written at once from this many bytes on; what is less waits for the end of the callback that it comes from. */
const enough = 256 * 1024
/** Packets of this size and larger are data. */
const large = 16 * 1024
/** The memory of each of them: the most that OpenSSH takes at once, and what goes around it. */
const largest = 32 * 1024 + 64
/** How many packets that are not in use are kept. */
const kept = 64

interface Cipher {
  allocPacket(payload: number): Buffer
  _onWrite(packet: Buffer): void
}

interface Protocol {
  _cipher?: Cipher
}

/** To be called once `client` is authenticated over `stream`. */
export function bulk(client: Client, stream: Duplex): void {
  gather(stream)
  const protocol = (client as unknown as { _protocol?: Protocol })._protocol
  if (!protocol?._cipher) return
  const pad = paddings()
  const own = (cipher: Cipher | undefined) => {
    if (cipher) reusePackets(cipher, stream, pad)
    return cipher
  }
  // A connection gets new keys, and with them a new cipher, every so many bytes.
  let cipher = own(protocol._cipher)
  Object.defineProperty(protocol, '_cipher', {
    configurable: true,
    enumerable: true,
    get: () => cipher,
    set: (next: Cipher | undefined) => {
      cipher = own(next)
    },
  })
}

/** ssh2 writes each packet, or each part of one, by itself: a system call and a wake-up at the other end each. */
function gather(stream: Duplex): void {
  const write = stream.write as (chunk: unknown, ...rest: unknown[]) => boolean
  let held = 0
  let due = false
  const flush = () => {
    due = false
    if (held > 0) release()
  }
  const release = () => {
    held = 0
    stream.uncork()
  }
  stream.write = ((chunk: Uint8Array | string, ...rest: unknown[]) => {
    if (held === 0) stream.cork()
    held += Math.max(chunk.length, 1)
    const result = write.call(stream, chunk, ...rest)
    if (held >= enough) release()
    else if (!due) {
      due = true
      process.nextTick(flush)
    }
    return result
  }) as Duplex['write']
}

/** Random padding, a few bytes at a time from many that were made at once. Each is used once. */
function paddings(): (packet: Buffer, from: number, length: number) => void {
  const bytes = Buffer.allocUnsafe(4096)
  let at = bytes.length
  return (packet, from, length) => {
    if (at + length > bytes.length) {
      randomFillSync(bytes)
      at = 0
    }
    bytes.copy(packet, from, at, at + length)
    at += length
  }
}

/** Packets of AES-GCM (what is agreed on with every OpenSSH) as ssh2 lays them out: RFC 5647, RFC 4253 section 6. */
function reusePackets(cipher: Cipher, stream: Duplex, pad: ReturnType<typeof paddings>): void {
  const kind = (cipher as object).constructor?.name
  const inPlace = kind === 'AESGCMCipherBinding'
  if (!inPlace && kind !== 'AESGCMCipherNative') return
  const tag = inPlace ? 16 : 0
  // Pieces of one size, whatever a packet's: what comes from a pipe is cut differently each time. The last one that came
  // free is taken first, as it is still in the processor's cache.
  const free: ArrayBuffer[] = []
  const take = (length: number): Buffer => {
    if (length < large || length > largest) return Buffer.allocUnsafe(length)
    return Buffer.from(free.pop() ?? new ArrayBuffer(largest), 0, length)
  }
  cipher.allocPacket = (payload) => {
    let padding = 16 - ((1 + payload) & 15)
    if (padding < 4) padding += 16
    const length = 5 + payload + padding
    const packet = take(length + tag)
    packet.writeUInt32BE(length - 4, 0)
    packet[4] = padding
    pad(packet, 5 + payload, padding)
    return packet
  }
  // Only a socket's callback says that the bytes are read; other streams may still hold them.
  if (!inPlace || !(stream instanceof Socket)) return
  const write = cipher._onWrite
  cipher._onWrite = (packet) => {
    const { buffer } = packet
    if (buffer.byteLength !== largest || !stream.writable) return write.call(cipher, packet)
    stream.write(packet, () => {
      if (free.length < kept) free.push(buffer as ArrayBuffer)
    })
  }
}

/**
 * Bytes that may be under way to a command before the host has taken them. sshd grants two million; sent faster than
 * the command reads, they pile up in a buffer that sshd enlarges, and copies, packet by packet: a tenth of a second at
 * the start of each transfer. The longer a round trip, the more keep the line full: here 250 MB a second.
 */
export function windowFor(roundTripMs: number): number {
  return Math.round(Math.max(512, 256 * roundTripMs)) * 1024
}

/** Limits what is under way on `channel`. The host's grants are relative, so once is enough. */
export function limitWindow(channel: unknown, bytes: number): void {
  const { outgoing } = channel as { outgoing?: { window?: unknown } }
  if (outgoing && typeof outgoing.window === 'number') outgoing.window = Math.min(outgoing.window, bytes)
}
