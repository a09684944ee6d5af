/** rendezvous: TLS; the client sends its secret and a line end, gets "rendezvous", and is joined with the process. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import type { Faults } from './faults.ts'

export interface Rendezvous {
  /** The attach URL under which `join` gets the socket of whoever comes. */
  offer(join: (socket: TLSSocket) => Promise<void>): string
  /** PEM file of the certificate that clients have to trust. */
  readonly certificate: string
  /** PEM file of its key. */
  readonly key: string
  close(): Promise<void>
}

export async function startRendezvous(dir: string, faults: Faults): Promise<Rendezvous> {
  const key = join(dir, 'rendezvous.key')
  const certificate = join(dir, 'rendezvous.pem')
  await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-keyout', key, '-out', certificate],
  ])
  const offers = new Map<string, (socket: TLSSocket) => Promise<void>>()
  const sockets = new Set<TLSSocket>()
  const server: Server = createServer({ key: await readFile(key), cert: await readFile(certificate) }, (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    let head = ''
    const onData = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      const end = head.indexOf('\n')
      if (end < 0) return
      socket.off('data', onData)
      const secret = head.slice(0, end).trim()
      const joinProcess = offers.get(secret)
      offers.delete(secret)
      if (!joinProcess) {
        socket.end('secret not found\r\n')
        return
      }
      socket.write('rendezvous\r\n', () => {
        const joined = faults.on.splitRendezvous ? splitWrites(socket) : socket
        joinProcess(joined).catch(() => socket.destroy())
        const rest = head.slice(end + 1)
        if (rest) socket.emit('data', Buffer.from(rest, 'latin1'))
      })
    }
    socket.on('data', onData)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    certificate,
    key,
    offer(joinProcess) {
      const secret = randomBytes(16).toString('hex')
      offers.set(secret, joinProcess)
      return `rendezvous://127.0.0.1:${port}/${secret}`
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Every write goes out in pieces of three bytes: a marker never comes in one chunk. */
function splitWrites(socket: TLSSocket): TLSSocket {
  const write = socket.write.bind(socket)
  socket.setNoDelay(true)
  socket.write = ((chunk: Buffer | string) => {
    const bytes = Buffer.from(chunk as string)
    for (let at = 0; at < bytes.length; at += 3) write(bytes.subarray(at, at + 3))
    return true
  }) as typeof socket.write
  return socket
}
