/** A proxy before a server whose line can be cut, for good or until it is mended. */
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { freePort } from './ports.ts'

export interface Cut {
  port: number
  /** Ends every connection at once, and lets no new one through. */
  cut(): void
  mend(): void
  close(): void
}

/** Forwards to `port` of `address`. */
export async function startCut(port: number, address = '127.0.0.1'): Promise<Cut> {
  const sockets = new Set<Socket>()
  let whole = true
  const server = createServer((inside) => {
    if (!whole) return void inside.destroy()
    const outside = connect(port, address)
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

/** The server that `sshConfigFile` leads to, over a line that can be cut: `dir` gets a configuration that leads there. */
export async function cutAway(sshConfigFile: string, dir: string): Promise<{ line: Cut; sshConfigFile: string }> {
  const text = readFileSync(sshConfigFile, 'utf8')
  const port = Number(/^\s*Port (\d+)$/m.exec(text)?.[1])
  const line = await startCut(port)
  const known = readFileSync(/UserKnownHostsFile "?([^"\n]+)"?/.exec(text)?.[1] as string, 'utf8')
  const knownHosts = join(dir, 'known_hosts')
  writeFileSync(knownHosts, known.replaceAll(`:${port}`, `:${line.port}`))
  const file = join(dir, 'ssh_config')
  const moved = text
    .replace(`Port ${port}`, `Port ${line.port}`)
    .replace(/UserKnownHostsFile .*/, `UserKnownHostsFile ${knownHosts}`)
  writeFileSync(file, moved)
  return { line, sshConfigFile: file }
}
