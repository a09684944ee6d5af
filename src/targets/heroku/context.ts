/** What every operation of a Heroku deployment starts from: its configuration and a client. */
import type { Config, HerokuConfig } from '../../config/types.ts'
import { SlipwayError } from '../../events/errors.ts'
import { currentRun, maybeRun } from '../../events/run.ts'
import type { DeployOptions } from '../deployment.ts'
import { type HerokuClient, herokuClient } from './client.ts'
import type { Environment } from './token.ts'

export interface HerokuContext {
  config: Config
  deployment: HerokuConfig
  client: HerokuClient
  env: Environment
  /** `/apps/pony-staging` */
  path: string
  /** The Heroku app's name. */
  app: string
}

export interface HerokuSetup {
  config: Config
  /** process.env unless given: tokens and base URLs. */
  env?: Environment
}

export function herokuContext(deployment: HerokuConfig, setup: HerokuSetup): HerokuContext {
  const env = setup.env ?? environment()
  let client: HerokuClient | undefined
  return {
    config: setup.config,
    deployment,
    env,
    app: deployment.herokuApp,
    path: appPath(deployment.herokuApp),
    // One client a run and environment: it carries the rate limit and the second factor.
    get client() {
      client ??= currentRun().memo(env, () => herokuClient(env))
      return client
    },
  }
}

/** The process's own variables, or in a sandbox those that lead to its emulator: never to the platform. */
function environment(): Environment {
  const run = maybeRun()
  if (!run?.options.sandbox) return process.env
  const { herokuEnvironment } = run.options
  if (herokuEnvironment) return run.memo('heroku environment', () => ({ ...process.env, ...herokuEnvironment }))
  throw new SlipwayError('sandbox-heroku-down', "the sandbox's Heroku emulator is not up", {
    state: 'Nothing was connected to.',
    next: 'Start it: slipway sandbox up --heroku',
  })
}

/**
 * What a run remembers of an app: what `upload` was asked for, that a release has restarted everything, and that its
 * deploy goes on with one that a run which died left under way.
 */
export function ofRun(context: HerokuContext): { upload?: DeployOptions; released: boolean; goesOn: boolean } {
  return currentRun().memo(`heroku app ${context.app}`, () => ({ released: false, goesOn: false }))
}

const appPath = (app: string): string => `/apps/${encodeURIComponent(app)}`
