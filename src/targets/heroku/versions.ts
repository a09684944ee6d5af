/** Releases of an app as versions: listing, and going back to one. */
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import type { Version } from '../deployment.ts'
import type { HerokuContext } from './context.ts'
import type { Release } from './resources.ts'
import * as resource from './resources.ts'

const newestFirst = 'version ..; max=50, order=desc'

export const releasesOf = (context: HerokuContext, limit = 50): Promise<Release[]> =>
  context.client.list(`${context.path}/releases`, resource.release, { range: newestFirst, limit })

export const getRelease = (context: HerokuContext, id: string): Promise<Release> =>
  context.client.get(`${context.path}/releases/${id}`, resource.release)

/** The release that runs, or undefined on an app without any. */
export async function currentRelease(context: HerokuContext): Promise<Release | undefined> {
  return (await releasesOf(context, 20)).find((release) => release.current)
}

/** The commit is the end of the platform's own description: `Deploy 1a2b3c4d`. */
const commitIn = (description: string): string | undefined => /\b([0-9a-f]{7,40})$/.exec(description)?.[1]

export function asVersion(release: Release): Version {
  const state =
    release.status === 'pending'
      ? 'uploading'
      : release.status === 'succeeded'
        ? release.current
          ? 'live'
          : 'retired'
        : 'failed'
  return {
    id: `v${release.version}`,
    state,
    current: release.current,
    wasLive: release.status === 'succeeded' && release.slug != null,
    commit: commitIn(release.description ?? ''),
    by: release.user.email,
    at: release.created_at,
    description: release.description ?? undefined,
  }
}

/** The release named `v12` or `12`; without a name, the last one before the current that had other code. */
export async function rollbackTarget(context: HerokuContext, to?: string): Promise<{ from: Release; target: Release }> {
  const releases = await releasesOf(context, to === undefined ? 100 : 1000)
  const from = releases.find((release) => release.current)
  if (!from)
    throw new SlipwayError('heroku-nothing-live', `${context.app} has no release yet`, { next: 'Deploy first.' })
  if (to !== undefined) {
    const version = Number(/^v?(\d+)$/.exec(to.trim())?.[1] ?? Number.NaN)
    const target = releases.find((release) => release.version === version || release.id === to)
    if (!target)
      throw new UsageError('no-version', `${context.app} has no release ${to}`, { next: 'See `tasks versions`.' })
    if (target.current) throw new UsageError('already-live', `${context.app} runs v${target.version} already`)
    if (target.status !== 'succeeded' || target.slug == null) {
      throw new UsageError(
        'never-live',
        `v${target.version} of ${context.app} (${target.status}) can't be gone back to`,
        {
          next: 'Choose one that was live: `tasks versions`.',
        },
      )
    }
    return { from, target }
  }
  const target = releases.find(
    (release) =>
      release.version < from.version &&
      release.status === 'succeeded' &&
      release.slug != null &&
      release.slug.id !== from.slug?.id,
  )
  if (!target) {
    throw new SlipwayError('no-earlier-version', `${context.app} has no earlier code to go back to`, {
      next: 'See `tasks versions`.',
    })
  }
  return { from, target }
}

/** Makes a release of an earlier one. The platform makes a new version with the old code and the old variables. */
export async function rollbackTo(context: HerokuContext, id: string): Promise<Release> {
  const { client, path } = context
  const newest = (await releasesOf(context, 1))[0]?.version ?? 0
  const target = await getRelease(context, id)
  return client.write('POST', `${path}/releases`, resource.release, {
    body: { release: id },
    evenAborted: false,
    reread: async () =>
      (await releasesOf(context, 5)).find(
        (release) => release.version > newest && release.description === `Rollback to v${target.version}`,
      ),
  })
}

/** What going back does to the app's variables: names only. */
async function configChange(
  context: HerokuContext,
  target: Release,
): Promise<{ name: string; change: 'add' | 'change' | 'remove' }[]> {
  const { client, path } = context
  const [now, then, addons] = await Promise.all([
    client.get(`${path}/config-vars`, resource.configVars),
    client.get(`${path}/releases/${target.id}/config-vars`, resource.configVars),
    client.list(`${path}/addons`, resource.addon),
  ])
  const owned = new Set(addons.flatMap((addon) => addon.config_vars))
  const changes: { name: string; change: 'add' | 'change' | 'remove' }[] = []
  for (const name of [...new Set([...Object.keys(now), ...Object.keys(then)])].sort()) {
    if (owned.has(name) || now[name] === then[name]) continue
    changes.push({ name, change: now[name] === undefined ? 'add' : then[name] === undefined ? 'remove' : 'change' })
  }
  return changes
}

/** Says what a rollback will do to the variables before it does it. */
export async function warnOfConfigChange(context: HerokuContext, target: Release): Promise<void> {
  const changes = await configChange(context, target)
  if (changes.length === 0) return
  const text = changes.map((each) => `${{ add: '+', change: '~', remove: '-' }[each.change]}${each.name}`).join(' ')
  currentRun().emit({
    type: 'warning',
    host: context.app,
    text: `going back to v${target.version} also takes its settings back: ${text}`,
  })
}
