/** The site of a deployment in the host's nginx: its file, rendered from the template, tested, and taken up. */
import { randomBytes } from 'node:crypto'
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { type Command, sh } from '../../shell/index.ts'
import type { ChangeOn } from './change.ts'
import type { VpsContext } from './context.ts'
import type { HostFacts } from './facts.ts'
import { readSite } from './promotion/site.ts'
import { writeFile } from './release-files.ts'
import { tlsDirectory } from './setup-script.ts'
import { render } from './templates.ts'

export { setupScript } from './setup-script.ts'

/** The text of the site's file. What `before` holds of a gate is kept, so that a promotion under way finds it. */
export async function siteText(
  context: VpsContext,
  facts: HostFacts,
  listen: readonly string[],
  before: string,
): Promise<string> {
  const { deployment, config } = context
  const { app } = deployment
  const { options } = config.domains
  return render(config.dir, 'nginx-site.conf', {
    app: app.name,
    deployment: deployment.name,
    domains: [deployment.domain],
    listen,
    siteDir: facts.app.site(deployment.name),
    healthPath: app.health.path,
    allow: deployment.maintenanceAllow,
    gateToken: readSite(before)?.gateToken ?? randomBytes(16).toString('hex'),
    reads: splitsReads(context),
    upstream: app.listen.kind === 'port' ? `127.0.0.1:${facts.port ?? app.listen.port}` : undefined,
    certificate: options['certificate'],
    certificateKey: options['certificate_key'],
    tls: options['certificate'] === undefined ? tlsDirectory : undefined,
  })
}

/** Whether requests that only read have a way of their own to the app. */
const splitsReads = ({ deployment: { app } }: Pick<VpsContext, 'deployment'>): boolean =>
  app.readOnly !== undefined && app.listen.kind === 'socket'

/**
 * Makes the site's folder, with that way where it is not there: to wherever all requests go. A promotion under way keeps
 * the one it has made.
 */
export function siteFolder(context: Pick<VpsContext, 'deployment'>, dir: string): Command {
  const reads = `${dir}/reads.sock`
  return sh`mkdir -p ${dir} ${`${dir}/acme`}${splitsReads(context) ? sh`; [ -L ${reads} ] || ln -s current.sock ${reads}` : sh`; :`}`
}

/** The token that lets a check through the gate is nobody's to see. */
const withoutTokens = (text: string): string => text.replace(/\b[0-9a-f]{32}\b/g, '•••')

/**
 * Writes the site's file and has nginx take it up; on a file that nginx refuses, or a name that another site has, the
 * one before is put back. Returns whether it changed.
 */
export async function writeSite(context: VpsContext, host: Host, change: ChangeOn): Promise<boolean> {
  const { facts, guard } = change
  const { deployment, config } = context
  const dir = facts.app.site(deployment.name)
  const file = `${dir}/nginx.conf`
  const probe = await host.probes({
    before: sh`cat ${file} 2>/dev/null || :`,
    listen: sh`printf '%s' "\${SLIPWAY_NGINX_LISTEN:-}"`,
  })
  const listen = (config.domains.options['listen'] ?? (probe.listen.stdout || '80, [::]:80'))
    .split(/[,\n]/)
    .map((each) => each.trim())
  const before = probe.before.stdout
  const text = await siteText(context, facts, listen, before)
  if (text === before) return false
  await host.script(
    [
      {
        name: `sites/${deployment.name}/nginx.conf`,
        command: sh`${siteFolder(context, dir)}
[ ! -f ${file} ] || cp -p ${file} ${file}.before
${writeFile(file, text, 0o644)}`,
        writes: { path: file, text, shown: withoutTokens },
      },
      { name: 'nginx takes it up', command: reloadNginx(file) },
    ],
    { guard },
  )
  currentRun().emit({ type: 'changed', host: host.name, what: `the site of ${deployment.domain}` })
  return true
}

/**
 * `nginx -t`, with its warnings read (a name that two sites have is one, and exits 0), then a reload; as root, as who
 * owns it, or by sudo without a password. Puts back `FILE.before` where nginx refuses.
 */
export function reloadNginx(file: string) {
  return sh`command -v nginx >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin
command -v nginx >/dev/null 2>&1 || { echo 'nginx is not installed' >&2; exit 127; }
as=
if [ "$(id -u)" != 0 ] && [ -z "\${SLIPWAY_SANDBOX:-}" ]; then
  sudo -n -l nginx -t >/dev/null 2>&1 || { echo 'nginx can not be reloaded: this needs root, or sudo without a password for nginx; see tasks setup_host' >&2; exit 1; }
  as='sudo -n'
fi
back() { if [ -f ${file}.before ]; then mv -f ${file}.before ${file}; else rm -f ${file}; fi; }
said=$($as nginx -t 2>&1) || { echo "$said" >&2; back; exit 1; }
case $said in *'conflicting server name'*) echo "$said" >&2; back; exit 1;; esac
$as nginx -s reload
rm -f ${file}.before`
}

/** Refuses a domain that is not configured. */
export function requireDomain(context: VpsContext): string {
  const { deployment } = context
  if (deployment.domain !== undefined) return deployment.domain
  throw new SlipwayError('no-domain', `[${deployment.name}] has no domain`, {
    state: 'Nothing was changed.',
    next: `Set it in ${context.config.file}: domain = ${deployment.name}.example.org`,
  })
}
