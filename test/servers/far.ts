/**
 * A proxy that puts a server far away, and counts round trips.
 *
 * A round trip begins when the client speaks, and lasts as long as the way there and back: what the client says within
 * that time waits for no answer to what began it, so it costs nothing more. What it says later begins the next one.
 * Connecting counts as one. So the count is the time that the distance costs, divided by the distance, whatever the
 * number of channels, packets or commands.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { freePort } from './ports.ts'

export interface Far {
  port: number
  /** Round trips since the last `reset`. */
  trips(): number
  reset(): void
  /** Resolves once no connection is left: what a client says as it leaves is not counted with what comes next. */
  idle(): Promise<void>
  close(): void
}

/** Forwards to `port` on this machine; each way takes half of `roundTripMs`. */
export async function startFar(port: number, roundTripMs: number): Promise<Far> {
  const sockets = new Set<Socket>()
  const left: (() => void)[] = []
  let trips = 0
  let begun = Number.NEGATIVE_INFINITY
  const speaks = () => {
    const now = performance.now()
    if (now - begun < roundTripMs) return
    begun = now
    trips++
  }
  const server = createServer((inside) => {
    // TCP's own handshake: nothing that follows it is let through before it would have been over.
    const open = performance.now() + roundTripMs
    begun = performance.now()
    trips++
    const outside = connect(port, '127.0.0.1')
    for (const socket of [inside, outside]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
    }
    const later = (act: () => void) => setTimeout(act, Math.max(0, open - performance.now()) + roundTripMs / 2)
    inside.on('data', (data) => {
      speaks()
      later(() => outside.write(data))
    })
    outside.on('data', (data) => later(() => inside.write(data)))
    inside.on('close', () => later(() => outside.end()))
    outside.on('close', () => later(() => inside.destroy()))
    for (const socket of [inside, outside]) {
      socket.on('close', () => {
        sockets.delete(socket)
        if (sockets.size === 0) for (const tell of left.splice(0)) tell()
      })
    }
  })
  const listening = await freePort()
  await new Promise<void>((resolve) => server.listen(listening, '127.0.0.1', resolve))
  return {
    port: listening,
    trips: () => trips,
    reset() {
      trips = 0
      begun = Number.NEGATIVE_INFINITY
    },
    idle: () => (sockets.size === 0 ? Promise.resolve() : new Promise((resolve) => left.push(resolve))),
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/** The server that `sshConfigFile` leads to, from far away: `dir` gets a configuration that leads there. */
export async function farAway(
  sshConfigFile: string,
  dir: string,
  roundTripMs: number,
): Promise<{ far: Far; sshConfigFile: string }> {
  const text = readFileSync(sshConfigFile, 'utf8')
  const port = Number(/^\s*Port (\d+)$/m.exec(text)?.[1])
  const far = await startFar(port, roundTripMs)
  const known = readFileSync(/UserKnownHostsFile "?([^"\n]+)"?/.exec(text)?.[1] as string, 'utf8')
  const knownHosts = join(dir, 'known_hosts')
  writeFileSync(knownHosts, known.replaceAll(`:${port}`, `:${far.port}`))
  const file = join(dir, 'ssh_config')
  const moved = text
    .replace(`Port ${port}`, `Port ${far.port}`)
    .replace(/UserKnownHostsFile .*/, `UserKnownHostsFile ${knownHosts}`)
  writeFileSync(file, moved)
  return { far, sshConfigFile: file }
}
