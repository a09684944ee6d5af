/** Code to a build that succeeded: by a tarball of the source, or by a push to the app's git repository. */
import { SlipwayError, StubbedResultError } from '../../events/errors.ts'
import { currentRun, scoped, withRun } from '../../events/run.ts'
import type { DeployOptions, InstallOptions } from '../deployment.ts'
import { inStep } from '../vps/step.ts'
import { tell } from './change.ts'
import { ignored } from './client.ts'
import { type HerokuContext, ofRun } from './context.ts'
import * as resource from './resources.ts'
import { checksumOf, packSource, type Source } from './source.ts'
import { showStream } from './stream.ts'
import { waitFor } from './wait.ts'

const buildMs = 60 * 60_000

/** Builds what is to be deployed, as the deployment says. Its release exists; its phase may still run. */
export const buildCode = (context: HerokuContext, options: DeployOptions & InstallOptions): Promise<resource.Build> =>
  context.deployment.deployBy === 'git' ? byGit(context, options) : bySource(context, options)

/** By a tarball: packed, uploaded, built. */
async function bySource(context: HerokuContext, options: DeployOptions & InstallOptions): Promise<resource.Build> {
  const { app } = context
  const source = await inStep(`pack ${context.deployment.app.source}`, undefined, async () =>
    clocked(context, await packSource(context, options)),
  )
  currentRun().emit({ type: 'note', host: app, text: `${source.what}, ${Math.ceil(source.tarball.length / 1024)} kB` })
  const left = await buildLeft(context, source)
  if (left) return left
  await allowed(context, source.commit, options)
  await purged(context, options)
  const url = await inStep('upload the source', app, () => uploadSource(context, source))
  return build(context, url, source)
}

/** The source with a clock process, where there is a schedule and nothing else that would keep it. */
async function clocked(context: HerokuContext, source: Source): Promise<Source> {
  const { app, deployBy } = context.deployment
  if (Object.keys(app.schedule).length === 0 || deployBy === 'git') return source
  const { usesScheduler, withClock } = await import('./clock.ts')
  if (usesScheduler(context.deployment)) return source
  const tarball = await withClock(source.tarball, app.schedule)
  if (!tarball) return source
  return { ...source, tarball, checksum: checksumOf(tarball), what: `${source.what}, with a clock process` }
}

/** By a push to the app's git repository. One that has the commit already builds nothing: then by a tarball of it. */
async function byGit(context: HerokuContext, options: DeployOptions & InstallOptions): Promise<resource.Build> {
  const { buildsUnderWay, commitToPush, gitUrl, pushCommit } = await import('./push.ts')
  const { app } = context
  const run = currentRun()
  const commit = await commitToPush(context, options)
  run.emit({ type: 'note', host: app, text: commit.what })
  const left = await buildLeft(context, commit)
  if (left) return left
  await allowed(context, commit.commit, options)
  await purged(context, options)
  if (run.options.dryRun) {
    const display = `git push ${await gitUrl(context)} +${commit.commit}:refs/heads/main`
    run.emit({ type: 'held-back', host: app, display })
    throw new StubbedResultError(display)
  }
  try {
    const pushed = await pushCommit(context, commit)
    if (pushed.build) {
      if (!pushed.shown) {
        const text = 'the connection to git was lost; the build goes on, and its output is shown from its beginning'
        run.emit({ type: 'warning', host: app, text })
      }
      return await followed(context, pushed.build, pushed.shown ? pushed.tail : undefined)
    }
  } catch (error) {
    if (run.signal.aborted) await cancelBuilds(context, () => buildsUnderWay(context, commit.commit))
    throw error
  }
  run.emit({ type: 'note', host: app, text: "the app's git has this commit already; it is built from a tarball" })
  return bySource(context, { ref: commit.commit })
}

/** The gate, and then the word to those who want to know before it begins. */
async function allowed(
  context: HerokuContext,
  commit: string | undefined,
  { announce }: Pick<DeployOptions, 'announce'>,
): Promise<void> {
  const { gate: gated } = context.deployment.app
  if (gated) {
    const { checkGate } = await import('../gate.ts')
    await checkGate(context.config, gated, { commit, dirty: commit === undefined })
  }
  if (announce) await tell(context, 'announce', commit)
}

async function purged(context: HerokuContext, { fresh }: InstallOptions): Promise<void> {
  if (!fresh) return
  await inStep('purge the build cache', context.app, () =>
    context.client.write('DELETE', `${context.path}/build-cache`, ignored, { reread: async () => undefined }),
  )
}

async function uploadSource(context: HerokuContext, source: Source): Promise<string> {
  const { client } = context
  const made = await client.write('POST', '/sources', resource.source, { reread: async () => undefined })
  if (currentRun().options.dryRun) return String(made.source_blob)
  await client.upload(made.source_blob.put_url, source.tarball)
  return made.source_blob.get_url
}

async function build(context: HerokuContext, url: string, source: Source): Promise<resource.Build> {
  const { client, path } = context
  const made = await client.write('POST', `${path}/builds`, resource.build, {
    body: { source_blob: { url, checksum: source.checksum, ...(source.commit ? { version: source.commit } : {}) } },
    // The source's address is this build's own.
    reread: async () =>
      (await client.list(`${path}/builds`, resource.build)).find((each) => each.source_blob.url === url),
  })
  try {
    return await followed(context, made)
  } catch (error) {
    if (currentRun().signal.aborted) await cancelBuilds(context, async () => [made])
    throw error
  }
}

/** Shows a build's output, unless `tail` says that it was shown, and waits for its end and its release. */
export async function followed(context: HerokuContext, made: resource.Build, tail?: string): Promise<resource.Build> {
  const { client, path, app } = context
  const shown =
    tail === undefined && made.output_stream_url
      ? await showStream(client, made.output_stream_url, app, 'build')
      : undefined
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
      detail: shown?.tail ?? tail,
      state: 'Nothing was released; the app runs on as it was.',
      next: `Mend what the output says, and deploy again: tasks deploy:release=${context.deployment.name}; with install_app:fresh=true it builds without the cache.`,
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
}

/**
 * The newest build, where the deploy goes on with one of which a run that died did not see the end. One that failed is
 * none; nor is one of other code than is to be deployed now, which is stopped: its release could come after.
 */
async function buildLeft(
  context: HerokuContext,
  { commit, checksum }: { commit?: string; checksum?: string },
): Promise<resource.Build | undefined> {
  if (!ofRun(context).goesOn) return undefined
  const all = await context.client.list(`${context.path}/builds`, resource.build)
  const newest = all.sort((a, b) => a.created_at.localeCompare(b.created_at)).at(-1)
  if (!newest || newest.status === 'failed') return undefined
  const of = newest.source_blob
  if (!(of.version ? of.version === commit : of.checksum && of.checksum === checksum)) {
    const text = 'the build that is there is of other code than there is now; it is not gone on with'
    currentRun().emit({ type: 'note', host: context.app, text })
    if (newest.status === 'pending') await cancelBuilds(context, async () => [newest])
    return undefined
  }
  currentRun().emit({ type: 'note', host: context.app, text: 'going on with the build that is there' })
  return followed(context, newest)
}

/** The platform is told to stop, after Ctrl-C too. */
async function cancelBuilds(context: HerokuContext, of: () => Promise<resource.Build[]>): Promise<void> {
  const calm = scoped(currentRun(), { signal: AbortSignal.timeout(10_000) })
  await withRun(calm, async () => {
    try {
      for (const { id } of await of()) {
        await context.client.write('DELETE', `${context.path}/builds/${id}`, ignored, {
          evenAborted: true,
          deadlineMs: 8000,
        })
        currentRun().emit({ type: 'note', host: context.app, text: 'the build was cancelled' })
      }
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      currentRun().emit({ type: 'warning', host: context.app, text: `the build could not be cancelled: ${why}` })
    }
  })
}
