import type { VpsConfig } from '../../config/types.ts'
import type { DeploymentOperations, FirstDeploy, Service } from '../deployment.ts'

/** What a deployment on hosts has beyond the contract. */
export interface VpsDeployment extends DeploymentOperations {
  readonly target: 'vps'
  readonly config: VpsConfig
  /** The release folder's name on the host: `pony2026r2`. For production, asked of the host. */
  release(): Promise<string>
  /** The daemon: what `…_supervisor` tails. Starting the workers starts it; it goes when nothing is left in it. */
  readonly supervisor: Pick<Service, 'status' | 'tail'> & { stop(): Promise<void> }
  /** The app server's own reload (`[app] reload`), proved by its health and by its being the same process. */
  reload(): Promise<void>
  /**
   * Deletes data that was replaced (by restores, clones, init, promotions) but for the newest `keep` of each database,
   * once what is in its place was read from end to end. Resolves with the folders and databases deleted.
   */
  pruneReplaced(options?: { keep?: number }): Promise<string[]>
  /** What an operator does by hand: the app, website and domain at the provider; then the first deploy and its data, if given. */
  initApp(options?: FirstDeploy): Promise<void>
}
