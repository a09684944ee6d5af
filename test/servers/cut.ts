/** A proxy before a server whose line can be cut, for good or until it is mended. */
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from './ports.ts'

export interface Cut {
  port: number
  /** Ends every connection at once, and lets no new one through. */
  cut(): void
  mend(): void
  close(): void
}

/** Forwards to `port` on 127.0.0.1. */
export async function startCut(port: number): Promise<Cut> {
  const sockets = new Set<Socket>()
  let whole = true
  const server = createServer((inside) => {
    if (!whole) return void inside.destroy()
    const outside = connect(port, '127.0.0.1')
    for (const socket of [inside, outside]) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        inside.destroy()
        outside.destroy()
      })
    }
    inside.pipe(outside)
    outside.pipe(inside)
  })
  const listening = await freePort()
  await new Promise<void>((resolve) => server.listen(listening, '127.0.0.1', resolve))
  return {
    port: listening,
    cut() {
      whole = false
      for (const socket of sockets) socket.destroy()
    },
    mend() {
      whole = true
    },
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
