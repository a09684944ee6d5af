/** A deploy: source, build, release phase, dynos, health, as one change with one outcome. */
import { AbortedError, SlipwayError, StubbedResultError } from '../../events/errors.ts'
import { currentRun, scoped, withRun } from '../../events/run.ts'
import type { DeployOptions, InstallOptions } from '../deployment.ts'
import { inStep } from '../vps/step.ts'
import { ignored } from './client.ts'
import { type HerokuContext, ofRun } from './context.ts'
import { dynosUp, formationOf, healthy } from './dynos.ts'
import { isNotFound } from './errors.ts'
import * as resource from './resources.ts'
import { packSource, type Source } from './source.ts'
import { showStream } from './stream.ts'
import { currentRelease, getRelease, rollbackTo } from './versions.ts'
import { waitFor } from './wait.ts'

const buildMs = 60 * 60_000
const releaseMs = 30 * 60_000

/** Builds and releases the source, and proves it. On a failed health check the app goes back to what it ran. */
export async function buildAndRelease(
  context: HerokuContext,
  options: DeployOptions & InstallOptions = {},
): Promise<resource.Release> {
  const { client, path, app } = context
  // Of an app that a dry run only said it would create, nothing can be read.
  if (currentRun().options.dryRun && !(await appExists(context))) throw new StubbedResultError(`POST /apps: ${app}`)
  const before = await currentRelease(context)
  const source = await inStep(`pack ${context.deployment.app.source}`, undefined, () => packSource(context, options))
  currentRun().emit({ type: 'note', host: app, text: `${source.what}, ${Math.ceil(source.tarball.length / 1024)} kB` })
  const { gate: gated, smoke } = context.deployment.app
  if (gated) {
    const { checkGate } = await import('../gate.ts')
    await checkGate(context.config, gated, { commit: source.commit, dirty: source.commit === undefined })
  }
  if (options.fresh) {
    await inStep('purge the build cache', app, () =>
      client.write('DELETE', `${path}/build-cache`, ignored, { reread: async () => undefined }),
    )
  }
  const url = await inStep('upload the source', app, () => uploadSource(context, source))
  const built = await build(context, url, source)
  const release = await released(context, built.release?.id ?? '', before)
  ofRun(context).released = true
  return proved(context, release, before, options.keepFailed, async () => {
    if (!options.smoke || !smoke) return
    const { runChecked } = await import('./database.ts')
    await runChecked(context, smoke, 'smoke')
  })
}

async function uploadSource(context: HerokuContext, source: Source): Promise<string> {
  const { client } = context
  const made = await client.write('POST', '/sources', resource.source, { reread: async () => undefined })
  if (currentRun().options.dryRun) return String(made.source_blob)
  await client.upload(made.source_blob.put_url, source.tarball)
  return made.source_blob.get_url
}

async function build(context: HerokuContext, url: string, source: Source): Promise<resource.Build> {
  const { client, path, app } = context
  const run = currentRun()
  const made = await client.write('POST', `${path}/builds`, resource.build, {
    body: { source_blob: { url, checksum: source.checksum, ...(source.commit ? { version: source.commit } : {}) } },
    // The source's address is this build's own.
    reread: async () =>
      (await client.list(`${path}/builds`, resource.build)).find((each) => each.source_blob.url === url),
  })
  try {
    const shown = made.output_stream_url ? await showStream(client, made.output_stream_url, app, 'build') : undefined
    const ended = await waitFor(
      async () => {
        const now = await client.get(`${path}/builds/${made.id}`, resource.build)
        return now.status === 'pending' ? undefined : now
      },
      {
        deadlineMs: buildMs,
        late: () => new SlipwayError('heroku-build-late', `${app}: the build goes on after an hour`, { host: app }),
      },
    )
    shown?.ok(ended.status === 'succeeded' ? 0 : 1)
    if (ended.status === 'failed') {
      throw new SlipwayError('heroku-build-failed', `${app}: the build failed`, {
        host: app,
        detail: shown?.tail,
        state: 'Nothing was released; the app runs on as it was.',
        next: 'Mend what the output says, and deploy again; `install_app:fresh=true` builds without the cache.',
      })
    }
    return ended.release
      ? ended
      : await waitFor(
          async () => {
            const now = await client.get(`${path}/builds/${made.id}`, resource.build)
            return now.release ? now : undefined
          },
          {
            deadlineMs: 60_000,
            late: () => new SlipwayError('heroku-no-release', `${app}: the build made no release`, { host: app }),
          },
        )
  } catch (error) {
    if (run.signal.aborted) await cancelBuild(context, made.id)
    throw error
  }
}

/** Ctrl-C: the platform is told to stop, though the run is over. */
async function cancelBuild(context: HerokuContext, id: string): Promise<void> {
  const calm = scoped(currentRun(), { signal: AbortSignal.timeout(10_000) })
  await withRun(calm, async () => {
    try {
      await context.client.write('DELETE', `${context.path}/builds/${id}`, ignored, {
        evenAborted: true,
        deadlineMs: 8000,
      })
      currentRun().emit({ type: 'note', host: context.app, text: 'the build was cancelled' })
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      currentRun().emit({ type: 'warning', host: context.app, text: `the build could not be cancelled: ${why}` })
    }
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
      next: 'Mend what the output says, and deploy again.',
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
      throw withState(
        error,
        `v${release.version} is live${back ? `; v${back.version} was before it` : ''}.`,
        back ? `tasks rollback:to=v${back.version}` : undefined,
      )
    }
    const returned = await rollbackTo(context, back.id)
    await released(context, returned.id, release)
    throw withState(
      error,
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

function withState(error: unknown, state: string, next?: string): SlipwayError {
  const from = error instanceof SlipwayError ? error : new SlipwayError('unexpected', String(error), { cause: error })
  return new SlipwayError(from.code, from.message, {
    cause: error,
    state,
    next: next ?? from.next,
    detail: from.detail,
    host: from.host,
  })
}

/** Whether the app is there at all. */
export async function appExists(context: HerokuContext): Promise<boolean> {
  try {
    await context.client.get(context.path, resource.app)
    return true
  } catch (error) {
    if (isNotFound(error)) return false
    throw error
  }
}
