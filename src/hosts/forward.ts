/** A port on this machine that leads to a port or a socket as the host sees it, over the connection that stands. */
import { createServer, type Socket } from 'node:net'
import { SlipwayError } from '../events/errors.ts'
import { currentRun } from '../events/run.ts'
import type { Host } from './host.ts'
import { reach } from './reach.ts'

/** Where a forwarded port leads, and where it is listened on here. */
export interface ForwardOptions {
  /** Port here, on 127.0.0.1; 0, or not given: any that is free. */
  port?: number
  /** `host:port` as seen from there, or the path of a unix socket. */
  to: string
}

/** A forwarded port while it is open. */
export interface Forward {
  readonly port: number
  close(): Promise<void>
}

/** Listens on 127.0.0.1 until closed, or the run ends. Rejects where the port is taken. */
export async function forward(host: Host, options: ForwardOptions): Promise<Forward> {
  const run = currentRun()
  const target = parseTarget(options.to)
  const transport = await reach(host).transport()
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
    const opened = 'path' in target ? host.openStream(target.path) : transport.openTcp(target.host, target.port)
    opened.then(
      (stream) => {
        stream.on('error', () => socket.destroy())
        socket.once('close', () => stream.destroy())
        socket.pipe(stream).pipe(socket)
      },
      (error: unknown) => {
        const text = `${options.to} could not be reached: ${error instanceof Error ? error.message : String(error)}`
        run.emit({ type: 'warning', host: host.name, text })
        socket.destroy()
      },
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new SlipwayError('forward-port', `port ${options.port} on this machine cannot be listened on`, {
          host: host.name,
          detail: error.message,
          cause: error,
          next: error.code === 'EADDRINUSE' ? 'Choose another port, or none for any that is free.' : undefined,
        }),
      ),
    )
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  let closed = false
  const close = async () => {
    if (closed) return
    closed = true
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
  run.defer(close)
  return { port: (server.address() as { port: number }).port, close }
}

function parseTarget(to: string): { path: string } | { host: string; port: number } {
  const [, host, port] = /^(?:(\[[^\]]+\]|[^:/]+):)?(\d+)$/.exec(to) ?? []
  if (port !== undefined) return { host: (host ?? '127.0.0.1').replace(/^\[(.*)\]$/, '$1'), port: Number(port) }
  return { path: to }
}
