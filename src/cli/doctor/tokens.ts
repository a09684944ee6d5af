/** Doctor on whom Slipway talks to beside hosts: providers of domains, GitHub's gate, webhooks. Asks; changes nothing. */
import { resolveSecret, resolveText } from '../../config/secrets.ts'
import type { Config, NotificationConfig, VpsConfig } from '../../config/types.ts'
import { host } from '../../hosts/index.ts'
import { bad, type Finding, fromError, ok } from './finding.ts'

/** Milliseconds that each gets to answer. */
const answerMs = 15_000

export async function tokenFindings(config: Config, reached: ReadonlySet<string>): Promise<Finding[]> {
  const gates = new Set(Object.values(config.deployments).flatMap(({ app }) => app.gate ?? []))
  const found = await Promise.all([
    providerFindings(config, reached),
    ...[...gates].map((gate) => gateFindings(config, gate)),
    ...config.notifications.map((each) => webhookFindings(config, each)),
  ])
  return found.flat()
}

/** Asks the provider where the first domain leads: it answers only those whose token it takes. */
async function providerFindings(config: Config, reached: ReadonlySet<string>): Promise<Finding[]> {
  const { provider } = config.domains
  if (provider === 'none' || provider === 'nginx') return []
  const deployment = Object.values(config.deployments).find(
    (each): each is VpsConfig => each.target === 'vps' && each.domain !== undefined,
  )
  const [home] = deployment?.hosts ?? []
  if (!deployment || home === undefined || !reached.has(home)) return []
  try {
    const [{ providerOf }, { vpsContext }] = await Promise.all([
      import('../../targets/vps/provider.ts'),
      import('../../targets/vps/create.ts'),
    ])
    const asked = await providerOf(vpsContext(config, deployment), host(home))
    const binding = await asked.current(deployment.domain ?? '')
    const leads = binding ? `${binding.domain} leads to ${binding.app}` : `${deployment.domain} leads nowhere yet`
    return [ok(provider, `the credentials are taken; ${leads}`)]
  } catch (error) {
    return [fromError(provider, error)]
  }
}

/** Whether GitHub shows the repository that the gate asks about. */
async function gateFindings(config: Config, gate: string): Promise<Finding[]> {
  const repository = /^github:([\w.-]+\/[\w.-]+)$/.exec(gate)?.[1]
  if (repository === undefined) return []
  const area = 'gate'
  try {
    const token =
      process.env['GITHUB_TOKEN'] ??
      (config.secretCommands?.['GITHUB_TOKEN'] ? (await resolveSecret(config, 'GITHUB_TOKEN')).reveal() : undefined)
    const base = process.env['GITHUB_API_URL'] ?? 'https://api.github.com'
    const headers: Record<string, string> = { accept: 'application/vnd.github+json', 'user-agent': 'slipway' }
    if (token) headers['authorization'] = `Bearer ${token}`
    const { status } = await fetch(`${base}/repos/${repository}`, { headers, signal: AbortSignal.timeout(answerMs) })
    return [gateFinding(area, repository, status, token !== undefined)]
  } catch (error) {
    return [fromError(area, error)]
  }
}

/** What GitHub's status for a repository means. Pure. */
export function gateFinding(area: string, repository: string, status: number, withToken: boolean): Finding {
  if (status === 200) return ok(area, `GitHub shows ${repository}${withToken ? ' to the token' : ''}`)
  if (status === 401)
    return bad(area, 'failure', 'GitHub does not take GITHUB_TOKEN', 'Make a new one: github.com/settings/tokens')
  if (status === 404 || status === 403)
    return bad(
      area,
      'failure',
      `GitHub does not show ${repository}${withToken ? ' to the token' : ' without a token'}`,
      withToken
        ? 'Is its name right? Give the token the right to read it.'
        : 'Is its name right? A private one needs GITHUB_TOKEN, in the environment or under [secret_commands].',
    )
  return bad(area, 'warning', `GitHub answered ${status} about ${repository}`, 'Try again; www.githubstatus.com')
}

/** A webhook can't be tried without telling it something: its address is looked at, and whether anybody is there. */
async function webhookFindings(config: Config, { name, url }: NotificationConfig): Promise<Finding[]> {
  const area = `notify.${name}`
  try {
    const resolved = await resolveText(config, url, `[notify.${name}] url`)
    const text = typeof resolved === 'string' ? resolved : resolved.reveal()
    if (!/^https?:\/\/[^/]+/.test(text))
      return [bad(area, 'failure', 'its url is no web address', `Put it right: [notify.${name}] url = https://…`)]
    // The address itself is a secret: only who answers there is named.
    const { origin, host: there } = new URL(text)
    await fetch(origin, { method: 'HEAD', redirect: 'manual', signal: AbortSignal.timeout(answerMs) })
    return [ok(area, `${there} answers; that it takes messages shows with the first one`)]
  } catch (error) {
    return [fromError(area, error)]
  }
}
