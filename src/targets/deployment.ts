/**
 * The contract that both targets keep: one running copy of the app. What only one target has is on its own
 * interface, behind `target`, so that nothing leaks either way.
 */
import type { HostGroup } from '../hosts/host.ts'
import type { HerokuDeployment } from './heroku/deployment.ts'
import type { VpsDeployment } from './vps/deployment.ts'

/** One running copy of the app: on hosts, or on Heroku. `target` tells which. */
export type Deployment = VpsDeployment | HerokuDeployment

/** What a deployment from nothing needs beside its app: done where it is not yet, in this order. */
export interface FirstDeploy {
  deploy?(): Promise<unknown>
  populate?(): Promise<void>
}

/** What can be done with a deployment, the same on hosts and on Heroku. */
export interface DeploymentOperations {
  /** The section of deploy.ini: `staging`. */
  readonly name: string
  readonly appName: string

  /** upload, install, restart, health gate; one failure anywhere rejects, and the old version keeps running. */
  deploy(options?: DeployOptions): Promise<Version>
  /** VPS: rsync into a new version. Heroku: says that the code travels with the build. */
  upload(options?: DeployOptions): Promise<void>
  /** Makes the uploaded version ready and current. Heroku: build and release. */
  install(options?: InstallOptions): Promise<Version>
  versions(): Promise<Version[]>
  /** To the last version that was live, or `to`. */
  rollback(options?: { to?: string; migrate?: boolean }): Promise<Version>
  /** Removes old versions; never the current or the one before. Returns the ids removed. */
  prune(options?: { keep?: number }): Promise<string[]>

  readonly server: Service
  readonly workers: Workers
  readonly database: Database
  readonly settings: Settings
  readonly domains: Domains
  readonly maintenance: Maintenance
  readonly schedule: Schedule

  /** A one-off command in the current version with its environment; resolves with its exit status. */
  run(command: readonly string[], options?: { detach?: boolean }): Promise<number>
  status(): Promise<DeploymentStatus>
  /** The app's logs: followed or not. */
  logs(options?: LogOptions): AsyncIterable<LogLine>
  /** Where a browser finds it. */
  url(): Promise<string | undefined>
  /** The hosts with a role (`web`, `worker`, `database`; all hosts have every role unless configured). Heroku: empty. */
  role(name: string): HostGroup
  readonly hosts: HostGroup
}

/** What is deployed, and how. */
export interface DeployOptions {
  /** A git ref; default is the working tree as it lies, on a clean branch if the deployment names one. */
  ref?: string
  allowDirty?: boolean
  keepFailed?: boolean
  /** Afterwards runs the app's smoke command; a failing one goes back to the version before. */
  smoke?: boolean
  /** Tells the webhooks that want `announce`, once it is allowed (gate) and before anything is changed. */
  announce?: boolean
}

/** How what was uploaded is installed. */
export interface InstallOptions {
  /** A new virtualenv or node_modules; on Heroku the build cache is purged. */
  fresh?: boolean
  keepFailed?: boolean
}

/** One upload of code inside a release; on Heroku, a release. */
export interface Version {
  id: string
  /** Heroku: `pending` is uploading, `succeeded` is live or retired. */
  state: 'uploading' | 'installed' | 'live' | 'failed' | 'retired'
  current: boolean
  /** Whether it ever was live: what rollback may choose. */
  wasLive: boolean
  commit?: string
  by: string
  at: string
  description?: string
}

/** One process: its state, and since when. */
export interface ProcessStatus {
  name: string
  state: 'running' | 'starting' | 'stopped' | 'stopping' | 'failed'
  pid?: number
  uptimeSeconds?: number
  version?: string
  host?: string
  detail?: string
}

/** The app server: started, stopped, restarted, each proved. */
export interface Service {
  /** Resolves once it runs and answers its health check. Already running is fine. */
  start(): Promise<void>
  /** Resolves once no process of it is left. Already stopped is fine. */
  stop(): Promise<void>
  /** Behind a socket and nginx without failing a request; elsewhere stop and start. */
  restart(): Promise<void>
  status(): Promise<ProcessStatus[]>
  tail(options?: LogOptions): AsyncIterable<LogLine>
}

/** The workers: drained before they stop, and scaled. */
export interface Workers extends Service {
  /** The number of processes of a worker program. */
  scale(sizes: Record<string, number>): Promise<void>
}

/** Which log, from where, and whether it is followed. */
export interface LogOptions {
  follow?: boolean
  lines?: number
  since?: string
  grep?: string
  /** `app`, `worker`, `supervisor`, `web` …; all unless given. */
  source?: string
}

/** A line of a log, with its host and source. */
export interface LogLine {
  host: string
  source: string
  text: string
  at?: string
  mark?: 'gap' | 'rotated' | 'reconnected'
}

/** The deployment's databases: backups that are proved, restores that lose nothing, copies. */
export interface Database {
  /** Creates and fills it with the app's command. Refuses where there is data, unless `force`. */
  /** `unlessThere`: data that is there already is left as it is, and that is fine. */
  init(options?: { force?: boolean; unlessThere?: boolean }): Promise<void>
  migrate(): Promise<void>
  backup(): Promise<Backup>
  backups(): Promise<Backup[]>
  restore(backup: string): Promise<void>
  /** To the operator's machine; resolves with the files' paths. */
  fetch(directory?: string): Promise<string[]>
  /** Over `target`'s data, after a backup of it. */
  copyTo(target: Deployment): Promise<void>
  /** Restores a backup into a scratch database and compares; the newest unless given. */
  verify(backup?: string): Promise<void>
  size(): Promise<{ name: string; bytes: number }[]>
  shell(): Promise<number>
}

/** A backup, as the list shows it. */
export interface Backup {
  id: string
  at: string
  bytes: number
  /** Names of the databases in it. */
  databases: string[]
  verified: boolean
  /** Made on schedule, without an operator. */
  scheduled?: boolean
}

/** The app's own settings of a deployment. */
export interface Settings {
  get(): Promise<Record<string, string>>
  /** One batch; `null` removes. Returns the names that changed. */
  set(values: Readonly<Record<string, string | null>>): Promise<string[]>
  /** What `push` would change: names, never secret values. */
  diff(): Promise<{ name: string; change: 'add' | 'change' | 'remove' }[]>
  push(): Promise<string[]>
}

/** The names that a deployment answers at. */
export interface Domains {
  list(): Promise<{ domain: string; pointsAt?: string; ok: boolean; detail?: string }[]>
  attach(domain: string): Promise<void>
  verify(domain?: string): Promise<void>
}

/** Answers 503 with a page while it is on. */
export interface Maintenance {
  on(options?: { message?: string }): Promise<void>
  off(): Promise<void>
  status(): Promise<boolean>
  /** On, `fn`, and off again after an abort too. */
  during<T>(fn: () => Promise<T>): Promise<T>
}

/** The commands that run by the clock. */
export interface Schedule {
  list(): Promise<{ name: string; when: string; command: string }[]>
  /** Makes the host's section equal to the configuration. Returns whether it changed. */
  push(): Promise<boolean>
}

/** How a deployment is: version, processes, health, databases, domains, disk. */
export interface DeploymentStatus {
  name: string
  target: 'vps' | 'heroku'
  /** The release's name, or the Heroku app's. */
  release: string
  /** Which role the host's own record gives it. */
  role: 'production' | 'staging' | 'former production' | 'none'
  version?: Version
  server: ProcessStatus[]
  workers: ProcessStatus[]
  healthy: boolean
  health?: string
  databases: { name: string; bytes?: number; ok: boolean; detail?: string }[]
  domains: { domain: string; ok: boolean; detail?: string }[]
  maintenance: boolean
  lock?: string
  unfinished?: string
  disk?: { usedPercent: number; freeBytes: number }
  warnings: string[]
}
