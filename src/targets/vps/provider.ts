/** Who leads a deployment's domain to a port: the configured provider, with its credentials, or the host's nginx. */
import { resolveSecret } from '../../config/secrets.ts'
import { SlipwayError, UsageError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import type { Binding, DomainProvider } from '../domains/provider.ts'
import type { VpsContext } from './context.ts'
import { hostFacts } from './facts.ts'
import { reloadNginx } from './nginx.ts'
import { writeFile } from './release-files.ts'

/** Credentials come from .env, else they are asked for. */
export async function providerOf(context: VpsContext, host: Host): Promise<DomainProvider> {
  const { config } = context
  const { provider, options } = config.domains
  const url = options['url'] === undefined ? {} : { url: options['url'] }
  switch (provider) {
    case 'opalstack': {
      const { opalstack } = await import('../domains/opalstack.ts')
      return opalstack({ token: await resolveSecret(config, 'OPALSTACK_TOKEN', '[domains]'), ...url })
    }
    case 'webfaction': {
      const { webfaction } = await import('../domains/webfaction.ts')
      const user = options['user'] ?? (await hostFacts(context.deployment, host)).user
      return webfaction({
        user,
        password: await resolveSecret(config, 'WEBFACTION_PASSWORD', '[domains]'),
        ...url,
        ...(options['machine'] === undefined ? {} : { machine: options['machine'] }),
        version: options['version'] === '2' ? 2 : 1,
      })
    }
    case 'uberspace':
      return (await import('../domains/uberspace.ts')).uberspace(host)
    case 'nginx':
      return nginxPorts(context, host)
    default:
      throw new UsageError('provider', 'no [domains] provider is configured')
  }
}

/** The provider's name for the app of a release. */
export function appName(provider: Pick<DomainProvider, 'name'>, release: string, port: number): string {
  return provider.name === 'opalstack' || provider.name === 'webfaction' ? release : String(port)
}

const upstream = /(upstream\s+\w+_current\s*\{\s*server\s+)127\.0\.0\.1:(\d+);/

/** The host's nginx in front of apps on ports: the port in the site's file is replaced, tested, and taken up. */
function nginxPorts(context: VpsContext, host: Host): DomainProvider {
  const { deployment } = context
  const siteFile = async () => `${(await hostFacts(deployment, host)).app.site(deployment.name)}/nginx.conf`
  const text = async () =>
    (await host.run(sh`cat ${await siteFile()} 2>/dev/null || :`, { kind: 'probe', quiet: true })).stdout
  const current = async (domain: string): Promise<Binding | null> => {
    const port = upstream.exec(await text())?.[2]
    return port === undefined ? null : { domain, app: port, path: '/', raw: { port } }
  }
  async function set(port: string): Promise<void> {
    const file = await siteFile()
    const before = await text()
    if (!upstream.test(before)) {
      throw new SlipwayError(
        'no-site',
        `there is no site for ${deployment.name} on ${host.name} that leads to a port`,
        {
          host: host.name,
          state: 'Nothing was changed.',
          next: 'Make it: `tasks init_staging_app` or `tasks init_production_app`.',
        },
      )
    }
    await host.script([
      {
        name: `sites/${deployment.name}/nginx.conf`,
        command: sh`cp -p ${file} ${file}.before
${writeFile(file, before.replace(upstream, `$1127.0.0.1:${port};`), 0o644)}`,
      },
      { name: 'nginx takes it up', command: reloadNginx(file) },
    ])
  }
  return {
    name: 'nginx',
    capabilities: { atomicFlip: true, async: false, needsRoot: true },
    current,
    create: async (_domain, port) => ({ port: Number(port) }),
    addresses: async () =>
      (await host.run(sh`hostname -I`, { kind: 'probe', quiet: true })).stdout.trim().split(/\s+/).filter(Boolean),
    async plan(domain, port) {
      const before = await current(domain)
      const change = `nginx: ${domain} → 127.0.0.1:${port} (was ${before?.app ?? 'nothing'}), tested and reloaded`
      return { before, calls: before?.app === port ? [] : [change] }
    },
    async attach(domain, port, ifCurrent) {
      const now = await current(domain)
      if (now?.app === port) return now
      if (now?.app !== ifCurrent?.app) throw (await import('../domains/errors.ts')).changed(domain, ifCurrent, now)
      await set(port)
      return { domain, app: port, path: '/', raw: { port } }
    },
    restore: (binding) => set((binding.raw as { port: string }).port),
    async settled(domain, port) {
      const now = await current(domain)
      if (now?.app === port) return
      throw (await import('../domains/errors.ts')).unsettled(domain, port, `it leads to ${now?.app ?? 'nothing'}`)
    },
  }
}
