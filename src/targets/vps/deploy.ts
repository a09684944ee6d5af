/** A whole deploy: upload, install, restart with its health check, workers. A failure leaves the old version serving. */
import { currentRun } from '../../events/index.ts'
import type { DeployOptions, Version } from '../deployment.ts'
import { audited } from './change.ts'
import type { VpsContext } from './context.ts'
import { install } from './install.ts'
import { restartServer } from './server.ts'
import { upload } from './upload.ts'
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
      return { ...version, state: 'live', wasLive: true, current: true }
    },
    () => version?.commit,
  )
}
