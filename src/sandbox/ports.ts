/** Free TCP ports on loopback. */
import { createServer } from 'node:net'

/**
 * Ports that nothing listens on now, all different. Another process may take one before you do: start your server
 * at once, and try again with another when it says that the address is in use.
 */
export async function freePorts(count: number, address = '127.0.0.1'): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer()
          server.once('error', reject)
          server.listen(0, address, () => resolve(server))
        }),
    ),
  )
  const ports = servers.map((server) => {
    const bound = server.address()
    if (bound === null || typeof bound === 'string') throw new Error('a TCP server without a port')
    return bound.port
  })
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** One port that nothing listens on now. */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  const [port] = await freePorts(1, address)
  if (port === undefined) throw new Error('no free port')
  return port
}

/** Whether nothing listens on the port now. */
export async function isFree(port: number, address = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, address, () => server.close(() => resolve(true)))
  })
}
