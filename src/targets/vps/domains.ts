/** The domain of a deployment, and what an operator would make at the provider: site, folder, address. */
import { currentRun, SlipwayError, UsageError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import type { Domains } from '../deployment.ts'
import { audited, beginChange, type ChangeOn } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { forgetFacts, type HostFacts, hostFacts } from './facts.ts'
import { judge } from './health.ts'
import { replaceLink, servingVersion } from './live.ts'
import { requireDomain, setupScript, writeSite } from './nginx.ts'
import { visit, visitUrl } from './outside.ts'
import { readSite } from './promotion/site.ts'
import { appName, providerOf } from './provider.ts'
import { folderStep, requireSecrets } from './release-files.ts'
import { inStep, lostDuring } from './step.ts'

export function domainsOf(context: VpsContext): Domains {
  return {
    list: () => list(context),
    attach: (domain) => attach(context, domain),
    verify: (domain) => verify(context, domain),
  }
}

/** The folders of the release and its site, so that code can be uploaded and a browser finds what runs. */
export async function initApp(context: VpsContext): Promise<void> {
  // What comes after this needs them all: better missed now than halfway.
  await requireSecrets(context, { init: true })
  await audited(context, 'init the app', async () => {
    await onEach(context.role('web'), async (host) => {
      const change = await beginChange(context, host, `init ${context.deployment.name}`)
      await inStep(`make ${change.release.name}`, host.name, () =>
        host.script(initSteps(context, change), { guard: change.guard }),
      )
      await provideSite(context, host, change)
    }).catch(lost)
    await comeBack(context)
  })
}

/** What is true where the line is lost in what leaves the app itself alone. */
function lost(error: unknown): never {
  throw lostDuring(
    error,
    'Of the folders, the site and where the domain leads some are made, and the others as they were; what runs was not touched.',
    'When the host can be reached, do it again: it makes what is missing.',
  )
}

/** The crontab's line for reboots, and the scheduled commands; where there is no crontab, that is told. */
async function comeBack(context: VpsContext): Promise<void> {
  const { scheduleOf } = await import('./schedule.ts')
  await scheduleOf(context)
    .push()
    .catch((error: Error) => {
      currentRun().signal.throwIfAborted()
      currentRun().emit({ type: 'warning', text: `a reboot will not bring it back: ${error.message}` })
    })
}

function initSteps(context: VpsContext, { facts, release }: ChangeOn) {
  const link = facts.app.currentSocket(context.deployment.name)
  return [
    folderStep(context, facts, release),
    // Until the app is started the site leads to a socket that is not there: 502, and never another app.
    ...(facts.siteTarget === undefined
      ? [{ name: 'a socket for the site', command: replaceLink(release.slotSocket('a'), link) }]
      : []),
  ]
}

async function provideSite(context: VpsContext, host: Host, change: ChangeOn): Promise<void> {
  const { provider } = context.config.domains
  const onPort = context.deployment.app.listen.kind === 'port'
  if (onPort && provider !== 'none') await providePort(context, host, change)
  if (provider === 'none') {
    currentRun().emit({ type: 'note', text: 'no [domains] provider is configured: the site is left to you' })
    return
  }
  if (context.deployment.domain === undefined) {
    currentRun().emit({ type: 'note', text: `[${context.deployment.name}] has no domain: no site was made` })
    return
  }
  if (provider !== 'nginx') return leadHere(context, host, change)
  await inStep(`site of ${context.deployment.domain}`, host.name, async () =>
    (await writeSite(context, host, change)) ? undefined : 'unchanged',
  )
}

/**
 * A port that the release keeps, whatever it becomes: as its provider says, or the configured one, or the next that no
 * other release on the host has and nobody uses.
 */
async function providePort(context: VpsContext, host: Host, change: ChangeOn): Promise<void> {
  const { app, domain } = context.deployment
  const { facts, release, guard } = change
  if (app.listen.kind !== 'port' || facts.port !== undefined) return
  const file = `${release.records}/port`
  const { provider: kind } = context.config.domains
  let told: number | undefined
  if ((kind === 'opalstack' || kind === 'webfaction') && domain !== undefined) {
    const provider = await providerOf(context, host)
    if (!currentRun().options.dryRun) told = (await provider.create(domain, release.name)).port
  }
  const others = release.dir.slice(0, release.dir.lastIndexOf('/'))
  const first = told ?? app.listen.port
  const choose = sh`mkdir -p ${release.records}
p=${String(first)}
# Its own port may be in use already, by the release itself; one further on is somebody else's then.
used() { [ "$p" != ${String(first)} ] && awk -v p=":$(printf %04X "$p")" 'substr($2, length($2) - 4) == p { used = 1 } END { exit !used }' /proc/net/tcp /proc/net/tcp6 2>/dev/null; }
while [ ${told === undefined ? 'choose' : 'told'} = choose ] && { cat ${others}/*/.slipway/port 2>/dev/null | grep -qx "$p" || used; }; do p=$((p + 1)); done
printf '%s\n' "$p" >${file}.new; mv -f ${file}.new ${file}`
  await inStep(`a port for ${release.name}`, host.name, () =>
    host.script([{ name: 'its own port', command: choose }], { guard }),
  )
  forgetFacts(context.deployment, host)
  change.facts = await hostFacts(context.deployment, host)
}

/** Has the provider lead the domain to the release: where there is none yet, and where it led to another one. */
async function leadHere(context: VpsContext, host: Host, { facts, release }: ChangeOn): Promise<void> {
  const domain = requireDomain(context)
  const { listen, name } = context.deployment.app
  if (listen.kind !== 'port') {
    throw new UsageError(
      'provider',
      `${context.config.domains.provider} leads domains to ports, and ${name} listens on a socket`,
      {
        next: 'Set [app] listen = port …',
      },
    )
  }
  const provider = await providerOf(context, host)
  const app = appName(provider, release.name, facts.port ?? listen.port)
  if (currentRun().options.dryRun) return
  await inStep(`lead ${domain} to ${app} at ${provider.name}`, host.name, async () => {
    await provider.create(domain, app)
    const before = await provider.current(domain)
    if (before?.app === app) return 'unchanged'
    await provider.attach(domain, app, before)
    return before ? `was ${before.app}` : undefined
  })
}

async function list(context: VpsContext): ReturnType<Domains['list']> {
  if (context.deployment.domain === undefined) return []
  const { deployment } = context
  const domain = deployment.domain as string
  const host = context.home()
  const facts = await hostFacts(deployment, host)
  const result = await ask(context, host, domain)
  return [{ domain, pointsAt: facts.siteTarget, ok: result === undefined, detail: result }]
}

async function attach(context: VpsContext, domain: string): Promise<void> {
  const attached = { ...context, deployment: { ...context.deployment, domain } }
  await audited(context, `attach ${domain}`, () =>
    onEach(context.role('web'), async (host) => {
      await provideSite(attached, host, await beginChange(context, host, `attach ${domain}`))
    }).catch(lost),
  )
}

async function verify(context: VpsContext, domain = requireDomain(context)): Promise<void> {
  await onEach(context.role('web'), async (host) => {
    const wrong = await ask(context, host, domain)
    if (wrong === undefined) return
    throw new UsageError('domain', `${domain} is not answered by ${context.deployment.name}: ${wrong}`, {
      state: 'Nothing was changed.',
      next: 'Make the site with init_staging_app, and start the app.',
    })
  })
  await verifyOutside(context, domain)
}

/** Asks for the domain from here by its real name, which the host's own front door knows nothing of. */
async function verifyOutside(context: VpsContext, domain: string): Promise<void> {
  const { deployment } = context
  const host = context.role('web').first()
  const facts = await hostFacts(deployment, host)
  const site = await siteOn(deployment.name, facts, host)
  const { health } = deployment.app
  const front = { domain, tls: site?.tls ?? false, port: site?.port ?? 80, path: health.path }
  const url = visitUrl(front)
  const state = `On ${host.name} itself it is answered as it should be.`
  const answer = await visit(front).catch((cause: Error) => {
    throw new SlipwayError('domain-outside', `${url} can't be reached from here: ${cause.message}`, {
      cause,
      state,
      next: `Let DNS lead ${domain} to ${host.name}, and a firewall let it through: \`tasks domains\`.`,
    })
  })
  const { healthy, detail, release } = judge(answer, health, serves(facts))
  if (!healthy) {
    throw new SlipwayError('domain-outside', `${url} is not answered as ${deployment.name} answers: ${detail}`, {
      state,
      next: `Look where DNS leads ${domain}, and for a cache or another server in front.`,
    })
  }
  currentRun().emit({ type: 'note', text: `${url} answered ${answer.status}${release ? ` from ${release}` : ''}` })
}

/** What the app that runs sends as its release and version, where it sends any. */
function serves(facts: HostFacts): string | undefined {
  const version = servingVersion(facts)
  return facts.release && version && `${facts.release.name}/${version}`
}

async function siteOn(name: string, facts: HostFacts, host: Host) {
  const file = `${facts.app.site(name)}/nginx.conf`
  const { stdout } = await host.run(sh`cat ${file} 2>/dev/null || :`, { kind: 'probe', quiet: true })
  return readSite(stdout)
}

/** Asks the host's own front door for the domain; undefined where the app answers, otherwise what is wrong. */
async function ask(context: VpsContext, host: Host, domain: string): Promise<string | undefined> {
  const { deployment } = context
  const facts = await hostFacts(deployment, host)
  const site = await siteOn(deployment.name, facts, host)
  if (!site) return 'it has no site yet'
  const code = `import http.client, json, ssl, sys
host, port, tls, name, path = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True", sys.argv[4], sys.argv[5]
context = ssl._create_unverified_context()
door = http.client.HTTPSConnection(host, port, timeout=10, context=context) if tls else http.client.HTTPConnection(host, port, timeout=10)
door.request("GET", path, headers={"Host": name})
answer = door.getresponse()
print(json.dumps([answer.status, answer.getheader("X-Release"), answer.read(65536).decode("utf8", "replace")]))`
  const words = [site.address, String(site.port), site.tls ? 'True' : 'False', domain, deployment.app.health.path]
  const asked = await host.run(sh`python3 -c ${code} ${words}`, { kind: 'probe', quiet: true, nothrow: true })
  if (asked.exitCode !== 0) return `its front door does not answer: ${asked.stderr.trim().split('\n').pop()}`
  const [status, release, body] = JSON.parse(asked.stdout) as [number, string | null, string]
  const headers: Record<string, string> = release === null ? {} : { 'x-release': release }
  const { healthy, detail } = judge({ status, headers, body }, deployment.app.health, serves(facts))
  return healthy ? undefined : detail
}

/** What root does once on the hosts of a deployment, as one script. */
export async function hostSetup(context: VpsContext): Promise<string> {
  return setupScript(context, await hostFacts(context.deployment, context.home()))
}
