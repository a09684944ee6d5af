/** The sites of a sandbox: which names they have, and what they listen on. */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface SandboxSite {
  app: string
  deployment: string
  domains: string[]
  file: string
}

/** Sites that have been configured in a home, by app and deployment. */
export async function sandboxSites(home: string): Promise<SandboxSite[]> {
  const sites: SandboxSite[] = []
  for (const app of await list(join(home, '.slipway'))) {
    for (const deployment of await list(join(home, '.slipway', app, 'sites'))) {
      const file = join(home, '.slipway', app, 'sites', deployment, 'nginx.conf')
      const text = await readFile(file, 'utf8').catch(() => undefined)
      if (text !== undefined) sites.push({ app, deployment, domains: serverNames(text), file })
    }
  }
  return sites
}

/** The names in the server_name lines of an nginx configuration. */
export function serverNames(text: string): string[] {
  return [...text.matchAll(/^\s*server_name\s+([^;]+);/gm)].flatMap((found) => (found[1] ?? '').trim().split(/\s+/))
}

/** Has the sites listen on another port, when the old one was taken while the sandbox was down. */
export async function moveSites(home: string, from: number, to: number): Promise<void> {
  for (const { file } of await sandboxSites(home)) {
    const text = await readFile(file, 'utf8')
    await writeFile(file, text.replaceAll(`listen 127.0.0.1:${from};`, `listen 127.0.0.1:${to};`))
  }
}

async function list(dir: string): Promise<string[]> {
  return (await readdir(dir).catch(() => [])).sort()
}
