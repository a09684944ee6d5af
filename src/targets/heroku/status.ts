/** All about a deployment in one round of parallel reads. */
import { lockSentence } from '../../engine/index.ts'
import type { DeploymentStatus } from '../deployment.ts'
import type { HerokuContext } from './context.ts'
import { probeHealth, workerTypes } from './dynos.ts'
import { isNotFound } from './errors.ts'
import * as resource from './resources.ts'
import { processes } from './services.ts'
import { readSettings } from './settings.ts'
import { keeperOf, lockHolder } from './store.ts'
import { asVersion, releasesOf } from './versions.ts'

/** One round of parallel requests to the platform, however many dynos and add-ons there are; then one to the app. */
export async function status(context: HerokuContext): Promise<DeploymentStatus> {
  const { client, path, deployment } = context
  const orNothing = (error: unknown): undefined => {
    if (isNotFound(error)) return undefined
    throw error
  }
  const [info, formation, dynos, releases, addons, domains, coupling, settings] = await Promise.all([
    client.get(path, resource.app),
    client.list(`${path}/formation`, resource.formation),
    client.list(`${path}/dynos`, resource.dyno),
    releasesOf(context, 20),
    client.list(`${path}/addons`, resource.addon),
    client.list(`${path}/domains`, resource.domain),
    client.get(`${path}/pipeline-couplings`, resource.coupling).catch(orNothing),
    readSettings(keeperOf(context)).catch(orNothing),
  ])
  const current = releases.find((release) => release.current)
  const pending = releases.find((release) => release.status === 'pending')
  const failed = releases[0]?.status === 'failed' ? releases[0] : undefined
  const web = formation.find((each) => each.type === 'web')
  const serving = web !== undefined && web.quantity > 0 && current?.slug != null && !info.maintenance
  const [health, holder] = await Promise.all([
    serving && info.web_url ? probeHealth(context, info.web_url) : undefined,
    lockHolder(context, settings),
  ])
  const old = dynos.filter((dyno) => current && dyno.release.version < current.version && dyno.type !== 'run')
  const stage = coupling?.stage
  return {
    name: deployment.name,
    target: 'heroku',
    release: info.name,
    role:
      stage === 'production'
        ? 'production'
        : stage === 'staging'
          ? 'staging'
          : deployment.name === 'production' || deployment.name === 'staging'
            ? deployment.name
            : 'none',
    ...(current ? { version: asVersion(current) } : {}),
    server: processes(formation, dynos, web ? ['web'] : []),
    workers: processes(formation, dynos, workerTypes(formation)),
    healthy: health?.ok ?? false,
    health:
      health?.detail ??
      (info.maintenance
        ? 'in maintenance: visitors get 503'
        : current?.slug == null
          ? 'nothing deployed yet'
          : 'no web dyno'),
    databases: addons
      .filter((addon) => addon.addon_service.name === 'heroku-postgresql')
      .map((addon) => ({
        name: addon.name,
        ok: addon.state === 'provisioned',
        detail: `${addon.plan.name}, ${addon.state}`,
      })),
    domains: domains
      .filter((each) => each.kind === 'custom')
      .map((each) => ({
        domain: each.hostname,
        ok: each.acm_status == null || each.acm_status === 'cert issued',
        ...(each.acm_status ? { detail: each.acm_status } : {}),
      })),
    maintenance: info.maintenance,
    ...(holder && !holder.journal ? { lock: lockSentence(holder) } : {}),
    ...(holder?.journal ? { unfinished: lockSentence(holder) } : {}),
    warnings: [
      ...(pending ? [`v${pending.version} is being released`] : []),
      ...(failed ? [`the last release, v${failed.version}, failed: ${failed.description}`] : []),
      ...old.map((dyno) => `${dyno.name} still runs v${dyno.release.version}`),
      ...addons
        .filter((addon) => addon.state !== 'provisioned')
        .map((addon) => `the add-on ${addon.name} is ${addon.state}`),
      ...(info.build_stack.name !== info.stack.name
        ? [`the stack becomes ${info.build_stack.name} with the next deploy`]
        : []),
    ],
  }
}
