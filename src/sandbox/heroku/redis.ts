/** Real Redis servers behind the add-ons that are one: a process each, with a password, over TLS where the platform has it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { freePort } from '../ports.ts'

export interface RedisServers {
  /** A server of its own; resolves with its URL, or undefined where redis-server is not installed. */
  create(id: string, options: { tls: boolean }): Promise<string | undefined>
  drop(id: string): Promise<void>
  close(): Promise<void>
}

/** `dir` is where they keep what they write; the certificate is the emulator's own, as on the platform self-signed. */
export function redisServers(dir: string, pem: { certificate: string; key: string }): RedisServers {
  const servers = new Map<string, ChildProcess>()

  async function end(server: ChildProcess): Promise<void> {
    if (server.exitCode !== null || server.signalCode !== null) return
    const ended = new Promise((resolve) => server.once('close', resolve))
    server.kill('SIGTERM')
    await ended
  }

  return {
    async create(id, { tls }) {
      const port = await freePort()
      const password = `p${randomBytes(16).toString('hex')}`
      const server = spawn('redis-server', ['-'], { stdio: ['pipe', 'pipe', 'ignore'] })
      servers.set(id, server)
      const ready = new Promise<boolean>((resolve) => {
        let said = ''
        server.stdout.setEncoding('utf8').on('data', (text: string) => {
          said += text
          if (said.includes('Ready to accept connections')) resolve(true)
        })
        server.once('error', () => resolve(false))
        server.once('close', () => resolve(false))
      })
      server.stdin.on('error', () => undefined)
      server.stdin.end(
        [
          'bind 127.0.0.1',
          ...(tls
            ? [`port 0`, `tls-port ${port}`, `tls-cert-file "${pem.certificate}"`, `tls-key-file "${pem.key}"`]
            : [`port ${port}`]),
          ...(tls ? ['tls-auth-clients no'] : []),
          `requirepass ${password}`,
          'save ""',
          `dir "${dir}"`,
          '',
        ].join('\n'),
      )
      if (!(await ready)) {
        servers.delete(id)
        return undefined
      }
      return `${tls ? 'rediss' : 'redis'}://:${password}@127.0.0.1:${port}`
    },
    async drop(id) {
      const server = servers.get(id)
      servers.delete(id)
      if (server) await end(server)
    },
    async close() {
      await Promise.all([...servers.values()].map(end))
    },
  }
}
