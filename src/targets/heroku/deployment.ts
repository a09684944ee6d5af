import type { HerokuConfig } from '../../config/types.ts'
import type { DeploymentOperations } from '../deployment.ts'

/** What a deployment on Heroku has beyond the contract. */
export interface HerokuDeployment extends DeploymentOperations {
  readonly target: 'heroku'
  readonly config: HerokuConfig
  /** Makes the app, its add-ons, settings, pipeline and domain what the configuration says; again: only what differs. */
  initApp(): Promise<void>
}
