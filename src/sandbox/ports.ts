/** Free TCP ports on loopback. */
import { createServer } from 'node:net'

/** Below those that the system gives to connections that go out: one of these is not taken between two looks. */
const range = { first: 10_240, last: 32_767 }

/**
 * Ports that nothing listens on now, all different. Another process may take one before you do: start your server
 * at once, and try again with another when it says that the address is in use.
 */
export async function freePorts(count: number, address = '127.0.0.1'): Promise<number[]> {
  const ports = new Set<number>()
  for (let tries = 0; ports.size < count; tries++) {
    if (tries > 1000) throw new Error(`no ${count} free ports at ${address}`)
    const port = range.first + Math.floor(Math.random() * (range.last - range.first + 1))
    if (!ports.has(port) && (await isFree(port, address))) ports.add(port)
  }
  return [...ports]
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
