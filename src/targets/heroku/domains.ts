/** Domains and certificates: attached, waited for, and where DNS has to point. */
import { resolve4, resolveCname } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import type { Domains } from '../deployment.ts'
import { ignored } from './client.ts'
import type { HerokuContext } from './context.ts'
import { isNotFound } from './errors.ts'
import type { Domain } from './resources.ts'
import * as resource from './resources.ts'
import { waitFor } from './wait.ts'

export const domainsOf = (context: HerokuContext): Promise<Domain[]> =>
  context.client.list(`${context.path}/domains`, resource.domain)

/** Adds it unless it is there, and waits until the platform has it. Says what DNS must say. */
export async function attachDomain(context: HerokuContext, hostname: string): Promise<Domain> {
  const { client, path, app } = context
  const known = (await domainsOf(context)).find((each) => each.hostname === hostname)
  const made =
    known ??
    (await client.write('POST', `${path}/domains`, resource.domain, {
      body: { hostname, sni_endpoint: null },
      reread: async () => (await domainsOf(context)).find((each) => each.hostname === hostname),
    }))
  if (currentRun().options.dryRun && !known) return made
  const ready = await waitFor(
    async () => {
      const now = await client.get(`${path}/domains/${hostname}`, resource.domain)
      return now.status === 'pending' ? undefined : now
    },
    {
      deadlineMs: 120_000,
      late: () =>
        new SlipwayError('heroku-domain-late', `${hostname} is still pending on ${app}`, {
          host: app,
          next: `heroku domains:wait ${hostname} --app ${app}`,
        }),
    },
  )
  if (ready.status === 'failed')
    throw new SlipwayError('heroku-domain-failed', `Heroku could not add ${hostname}`, { host: app })
  if (!known) {
    currentRun().emit({ type: 'changed', host: app, what: `domain ${hostname}` })
    currentRun().emit({
      type: 'note',
      host: app,
      text: `DNS: ${hostname} CNAME ${ready.cname ?? '(see heroku domains)'}`,
    })
  }
  return ready
}

export async function detachDomain(context: HerokuContext, hostname: string): Promise<void> {
  try {
    await context.client.write('DELETE', `${context.path}/domains/${hostname}`, ignored, {
      reread: async () => undefined,
    })
    if (!currentRun().options.dryRun)
      currentRun().emit({ type: 'changed', host: context.app, what: `domain ${hostname} removed` })
  } catch (error) {
    if (!isNotFound(error)) throw error
  }
}

/** Automatic certificates on; resolves once each custom domain has one. */
export async function automaticCertificates(
  context: HerokuContext,
  options: { wait?: boolean; deadlineMs?: number } = {},
): Promise<void> {
  const { wait = true, deadlineMs = 10 * 60_000 } = options
  const { client, path, app } = context
  if (!(await client.get(path, resource.app)).acm) {
    await client.write('POST', `${path}/acm`, resource.app, { body: {}, reread: async () => undefined })
    if (currentRun().options.dryRun) return
    currentRun().emit({ type: 'changed', host: app, what: 'automatic certificates on' })
  }
  if (!wait) return
  await waitFor(
    async () =>
      (await domainsOf(context)).every((each) => each.kind === 'heroku' || each.acm_status === 'cert issued')
        ? true
        : undefined,
    {
      deadlineMs,
      maxPauseMs: 10_000,
      late: async () => {
        const waiting = (await domainsOf(context)).filter(
          (each) => each.kind === 'custom' && each.acm_status !== 'cert issued',
        )
        return new SlipwayError(
          'heroku-no-certificate',
          `${app}: no certificate yet for ${waiting.map((each) => `${each.hostname} (${each.acm_status_reason ?? each.acm_status ?? 'waiting'})`).join(', ')}`,
          {
            host: app,
            next: `Point DNS at ${waiting.map((each) => each.cname).join(', ')}; Heroku issues it once it sees that.`,
          },
        )
      },
    },
  )
}

/** Uploads a certificate and its key from files and uses it for `hostname`. */
export async function uploadCertificate(
  context: HerokuContext,
  hostname: string,
  files: { certificate: string; key: string },
): Promise<void> {
  const { client, path } = context
  const body = {
    certificate_chain: await readFile(files.certificate, 'utf8'),
    private_key: await readFile(files.key, 'utf8'),
  }
  const sni = await client.write('POST', `${path}/sni-endpoints`, resource.sni, {
    body,
    reread: async () =>
      (await client.list(`${path}/sni-endpoints`, resource.sni)).find(
        (each) => each.certificate_chain.trim() === body.certificate_chain.trim(),
      ),
  })
  if (currentRun().options.dryRun) return
  await client.write('PATCH', `${path}/domains/${hostname}`, resource.domain, {
    body: { sni_endpoint: sni.id },
    reread: async () => undefined,
  })
  currentRun().emit({ type: 'changed', host: context.app, what: `certificate of ${hostname}: ${sni.name}` })
}

export function domains(context: HerokuContext): Domains {
  return {
    async list() {
      return (await domainsOf(context)).map((each) => ({
        domain: each.hostname,
        ...(each.cname ? { pointsAt: each.cname } : {}),
        ok:
          each.status !== 'pending' &&
          each.status !== 'failed' &&
          (each.acm_status == null || each.acm_status === 'cert issued'),
        ...(each.acm_status ? { detail: each.acm_status } : {}),
      }))
    },
    async attach(domain) {
      await attachDomain(context, domain)
    },
    async verify(domain) {
      const all = (await domainsOf(context)).filter(
        (each) => each.kind === 'custom' && (domain === undefined || each.hostname === domain),
      )
      if (domain !== undefined && all.length === 0) {
        throw new SlipwayError('no-domain', `${context.app} does not have the domain ${domain}`, {
          next: `tasks attach_domain:domain=${domain}`,
        })
      }
      const wrong: string[] = []
      for (const each of all) {
        const target = (each.cname ?? '').replace(/\.$/, '')
        const names = await resolveCname(each.hostname).catch(() => [] as string[])
        if (names.some((name) => name.replace(/\.$/, '') === target)) continue
        // An apex has no CNAME: its addresses have to be the target's.
        const [own, theirs] = await Promise.all([
          resolve4(each.hostname).catch(() => [] as string[]),
          resolve4(target).catch(() => [] as string[]),
        ])
        if (own.length > 0 && own.every((address) => theirs.includes(address))) continue
        wrong.push(
          `${each.hostname} should be a CNAME of ${target}; it is ${names.join(', ') || own.join(', ') || 'not in DNS'}`,
        )
      }
      if (wrong.length > 0)
        throw new SlipwayError('dns-elsewhere', 'DNS does not point at Heroku', {
          detail: wrong.join('\n'),
          host: context.app,
        })
    },
  }
}
