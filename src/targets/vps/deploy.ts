/** A whole deploy: upload, install, restart with its health check, workers. A failure leaves the old version serving. */
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { DeployOptions, Version } from '../deployment.ts'
import { audited, beginChange } from './change.ts'
import type { VpsContext } from './context.ts'
import { install, inVersion } from './install.ts'
import { restartServer } from './restart.ts'
import { inStep } from './step.ts'
import { upload } from './upload.ts'
import { rollback } from './versions.ts'
import { workersOf } from './workers.ts'

export async function deploy(context: VpsContext, options: DeployOptions = {}): Promise<Version> {
  let version: Version | undefined
  return audited(
    context,
    'deploy',
    async () => {
      await upload(context, options)
      version = await install(context, { keepFailed: options.keepFailed })
      await restartServer(context)
      if (Object.keys(context.deployment.app.workers).length > 0) await workersOf(context).restart()
      if (currentRun().options.dryRun) return version
      if (options.smoke) await smoke(context, version)
      return { ...version, state: 'live', wasLive: true, current: true }
    },
    () => version?.commit,
  )
}

/** Runs the app's smoke command in the new version; where it fails, the version before is live again. */
async function smoke(context: VpsContext, version: Version): Promise<void> {
  const { app, name } = context.deployment
  if (app.smoke === undefined) {
    currentRun().emit({ type: 'note', text: 'no smoke command is configured: the health check alone has proved it' })
    return
  }
  const host = context.home()
  const { release } = await beginChange(context, host, `smoke test of ${name}`)
  try {
    await inStep(`smoke test: ${app.smoke}`, host.name, async () => {
      await host.run(inVersion(release, version.id, app.smoke as string), { label: app.smoke })
    })
  } catch (error) {
    if (!(error instanceof SlipwayError)) throw error
    const back = await rollback(context).catch((failure: SlipwayError) => failure)
    throw new SlipwayError('smoke-failed', `${version.id} did not pass its smoke test on ${host.name}`, {
      host: host.name,
      cause: error,
      detail: error.detail,
      state:
        back instanceof Error
          ? `Going back failed too: ${back.message}. ${version.id} is live.`
          : `${back.id} is live again.`,
      next: 'Correct it, and release again.',
    })
  }
}
