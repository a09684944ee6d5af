/** A real nginx for a test: the sandbox's, ended with the test process should the test not stop it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { type Nginx, type NginxOptions, startNginx as start } from '../../src/sandbox/nginx.ts'

export type { Nginx } from '../../src/sandbox/nginx.ts'

export async function startNginx(options: Partial<NginxOptions> = {}): Promise<Nginx & { dir: string }> {
  const dir = options.dir ?? (await mkdtemp('/tmp/slipway-nginx-'))
  const nginx = await start({ include: [`${dir}/sites/*.conf`], ...options, dir })
  const end = () => {
    try {
      process.kill(nginx.process.pid)
    } catch {
      // It has ended already.
    }
  }
  process.once('exit', end)
  return {
    ...nginx,
    dir,
    stop: async () => {
      process.removeListener('exit', end)
      await nginx.stop()
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
    },
  }
}
