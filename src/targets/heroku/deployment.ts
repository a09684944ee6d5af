import type { HerokuConfig } from '../../config/types.ts'
import type { DeploymentOperations } from '../deployment.ts'

/** What a deployment on Heroku has beyond the contract. */
export interface HerokuDeployment extends DeploymentOperations {
  readonly target: 'heroku'
  readonly config: HerokuConfig
}
