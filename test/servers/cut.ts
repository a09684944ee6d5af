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

/**
 * The hosts of `sshConfigFile`, `pony-host` and those in `others` by their names, each over a line of its own that can
 * be cut. Whoever uses the configuration in `dir` comes over them.
 */
export async function cutEachAway(
  sshConfigFile: string,
  dir: string,
  others: Record<string, { address: string; port: number; knownHostsFile: string }>,
): Promise<{ lines: Record<string, Cut>; sshConfigFile: string }> {
  const text = readFileSync(sshConfigFile, 'utf8')
  const rest = text.slice(text.indexOf('Host *'))
  const word = (name: string) => new RegExp(`${name} "?([^"\\n]+?)"?$`, 'm').exec(rest)?.[1] as string
  const first = { address: word('HostName'), port: Number(word('Port')), knownHostsFile: word('UserKnownHostsFile') }
  const known = join(dir, 'known_hosts')
  const lines: Record<string, Cut> = {}
  const sections: string[] = []
  const keys: string[] = []
  for (const [name, { address, port, knownHostsFile }] of Object.entries({ 'pony-host': first, ...others })) {
    const line = await startCut(port, address)
    lines[name] = line
    sections.push(`Host ${name}\n  HostName 127.0.0.1\n  Port ${line.port}\n  UserKnownHostsFile ${known}\n`)
    keys.push(readFileSync(knownHostsFile, 'utf8').replace(/^\S+/gm, `[127.0.0.1]:${line.port}`))
  }
  // The first section that fits counts.
  const file = join(dir, 'ssh_config')
  writeFileSync(file, `${sections.join('')}${text}`)
  writeFileSync(known, keys.join(''))
  return { lines, sshConfigFile: file }
}
