import type { HerokuConfig } from '../../config/types.ts'
import type { DeploymentOperations, FirstDeploy } from '../deployment.ts'

export interface InitAppOptions extends FirstDeploy {
  /** Add-ons that config/deploy.ini does not name are destroyed, once their name is typed. */
  destroyUndeclared?: boolean
  /** Adds the domain without waiting for a certificate: DNS comes later. */
  withoutCertificate?: boolean
}

/** What a deployment on Heroku has beyond the contract. */
export interface HerokuDeployment extends DeploymentOperations {
  readonly target: 'heroku'
  readonly config: HerokuConfig
  /**
   * Makes the app, its add-ons, settings, pipeline and domain what the configuration says, with the first deploy and
   * its data where they are given; again: only what differs.
   */
  initApp(options?: InitAppOptions): Promise<void>
  /** Asks for an API token, tries it, and keeps it for later runs (0600). Resolves with the account's e-mail address. */
  login(): Promise<string>
  /** The names of the account's apps, or of a team's. */
  apps(team?: string): Promise<string[]>
  /** A git remote with the deployment's name. Returns whether it changed. */
  gitRemote(): Promise<boolean>
  /** The Procfile's processes on this machine with the deployment's settings, until one ends. Its exit status. */
  runLocally(options?: { types?: readonly string[]; port?: number }): Promise<number>
  /** The size of the dynos by process type, `{ web: 'standard-1x' }`. Resolves once dynos of it are up; those of others stay. */
  resize(sizes: Readonly<Record<string, string>>): Promise<void>
  /** Daily backups at a whole hour of a time zone; none without `at`. */
  scheduleBackups(at?: { hour: number; timezone: string }): Promise<void>
  /** The backup schedules there are. */
  backupSchedules(): Promise<{ hour: number; timezone: string }[]>
  /** Makes another database of the account the app's DATABASE. */
  attachDatabase(addon: string): Promise<void>
  /** Empties DATABASE, once `app::DATABASE` was typed; what is there is backed up first. */
  resetDatabase(): Promise<void>
  /** The roles that may log in to DATABASE, with their users; no passwords. */
  credentials(): Promise<{ name: string; state: string; users: string[] }[]>
}
