/** Where a deployment's locks, journals and audit log are. */
import type { Config } from '../config/types.ts'
import type { ChangeStore } from '../engine/types.ts'
import type { Deployment } from './deployment.ts'

export async function storeOf(config: Config, deployment: Deployment): Promise<ChangeStore> {
  if (deployment.target === 'vps') {
    const { vpsContext } = await import('./vps/create.ts')
    const { vpsStore } = await import('./vps/store/index.ts')
    return vpsStore(vpsContext(config, deployment.config).home(), deployment.appName)
  }
  const { storeFor } = await import('./heroku/store.ts')
  const { herokuContext } = await import('./heroku/context.ts')
  return storeFor(herokuContext(deployment.config, { config }))
}
