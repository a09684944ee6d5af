/** A deploy: source, build, release phase, dynos, health, as one change with one outcome. */
import { AbortedError, restated, SlipwayError, StubbedResultError } from '../../events/errors.ts'
import { asSlipwayError } from '../../events/foreign.ts'
import { currentRun } from '../../events/run.ts'
import type { DeployOptions, InstallOptions } from '../deployment.ts'
import { inStep } from '../vps/step.ts'
import { buildCode } from './builds.ts'
import { type HerokuContext, ofRun } from './context.ts'
import { dynosUp, formationOf, healthy } from './dynos.ts'
import { isNotFound } from './errors.ts'
import { tellOfOtherHooks } from './hooks.ts'
import * as resource from './resources.ts'
import { showStream } from './stream.ts'
import { currentRelease, getRelease, rollbackTo } from './versions.ts'
import { waitFor } from './wait.ts'

const releaseMs = 30 * 60_000

/** Builds and releases the source, and proves it. On a failed health check the app goes back to what it ran. */
export async function buildAndRelease(
  context: HerokuContext,
  options: DeployOptions & InstallOptions = {},
): Promise<resource.Release> {
  // Of an app that a dry run only said it would create, nothing can be read.
  if (currentRun().options.dryRun && !(await appExists(context))) {
    throw new StubbedResultError(`POST /apps: ${context.app}`)
  }
  tellOfOtherHooks(context)
  const before = await currentRelease(context)
  const built = await buildCode(context, options)
  const release = await released(context, built.release?.id ?? '', before)
  ofRun(context).released = true
  return proved(context, release, before, options.keepFailed, async () => {
    const { smoke } = context.deployment.app
    if (!options.smoke || !smoke) return
    const { runChecked } = await import('./database.ts')
    await runChecked(context, smoke, 'smoke')
  })
}

/** Follows a release's own phase, if it has one, to its end. A failed one never went live. */
export async function released(
  context: HerokuContext,
  id: string,
  before: resource.Release | undefined,
): Promise<resource.Release> {
  const { client, app } = context
  const first = await getRelease(context, id)
  const label = `v${first.version}`
  const shown = first.output_stream_url
    ? await showStream(client, first.output_stream_url, app, `release phase of ${label}`)
    : undefined
  const ended = await waitFor(
    async () => {
      const now = await getRelease(context, id)
      return now.status === 'pending' ? undefined : now
    },
    {
      deadlineMs: releaseMs,
      late: () =>
        new SlipwayError('heroku-release-late', `${app}: ${label} is still pending after 30 minutes`, { host: app }),
    },
  )
  shown?.ok(ended.status === 'succeeded' ? 0 : 1)
  if (ended.status !== 'succeeded') {
    throw new SlipwayError('heroku-release-failed', `${app}: the release phase of ${label} failed`, {
      host: app,
      detail: shown?.tail,
      state: before ? `${label} never went live; v${before.version} runs on.` : `${label} never went live.`,
      next: `Mend what the output says, and deploy again: tasks deploy:release=${context.deployment.name}`,
    })
  }
  currentRun().emit({ type: 'changed', host: app, what: `${label} (${ended.description})` })
  return ended
}

/** Dynos up at the release, then the health check. What fails it is taken back, unless `keepFailed`. */
export async function proved(
  context: HerokuContext,
  release: resource.Release,
  before: resource.Release | undefined,
  keepFailed = false,
  further: () => Promise<void> = async () => undefined,
): Promise<resource.Release> {
  const { app } = context
  try {
    await inStep(`dynos up at v${release.version}`, app, async () => {
      await dynosUp(context, { version: release.version })
    })
    await gate(context)
    await further()
    return release
  } catch (error) {
    if (error instanceof AbortedError || currentRun().signal.aborted || currentRun().options.dryRun) throw error
    const back = before?.slug && before.id !== release.id ? before : undefined
    if (!back || keepFailed || currentRun().options.keepFailed) {
      throw restated(
        asSlipwayError(error),
        `v${release.version} is live${back ? `; v${back.version} was before it` : ''}.`,
        back ? `tasks rollback:to=v${back.version}` : undefined,
      )
    }
    const returned = await rollbackTo(context, back.id)
    await released(context, returned.id, release)
    throw restated(
      asSlipwayError(error),
      `v${release.version} was live for a moment; the app is back at v${back.version} (as v${returned.version}).`,
    )
  }
}

/** The health check, where there is a web process to answer it. */
export async function gate(context: HerokuContext): Promise<void> {
  const [formation, url] = await Promise.all([formationOf(context), webUrl(context)])
  const web = formation.find((each) => each.type === 'web')
  if (!web || web.quantity === 0 || url === undefined) {
    currentRun().emit({ type: 'warning', host: context.app, text: 'no web dyno: its health was not checked' })
    return
  }
  if ((await context.client.get(context.path, resource.app)).maintenance) {
    currentRun().emit({ type: 'warning', host: context.app, text: 'in maintenance: its health was not checked' })
    return
  }
  await inStep(`health of ${new URL(context.deployment.app.health.path, url).href}`, context.app, () =>
    healthy(context, url),
  )
}

export async function webUrl(context: HerokuContext): Promise<string | undefined> {
  return (await context.client.get(context.path, resource.app)).web_url ?? undefined
}

/** Whether the app is there at all. */
async function appExists(context: HerokuContext): Promise<boolean> {
  try {
    await context.client.get(context.path, resource.app)
    return true
  } catch (error) {
    if (isNotFound(error)) return false
    throw error
  }
}
