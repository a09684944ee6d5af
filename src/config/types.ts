/**
 * The configuration, checked: what config/deploy.ini says runs where. Types only; anything may import these.
 * `[app]` holds what all deployments share; a deployment's own section may override any key of `AppConfig`.
 */

export interface Place {
  /** Relative to the project folder. */
  file: string
  line: number
}

/** config/deploy.ini as it was read and checked: the app, its deployments, and where each setting stands. */
export interface Config {
  /** The project folder: the one that holds config/, absolute. */
  dir: string
  file: string
  app: AppConfig
  deployments: Record<string, DeploymentConfig>
  domains: DomainsConfig
  notifications: NotificationConfig[]
  /** Where each key was set, as `section.key`; what `doctor` and errors name. */
  places: Record<string, Place>
  /** Commands that print a secret, by its name: `[secret_commands] NAME = op read …`. */
  secretCommands?: Record<string, string>
}

/** Commands are shell text. On a VPS they run in the version's folder with the variables of targets/vps/layout.ts. */
export interface AppConfig {
  name: string
  /** The folder that is uploaded, relative to the project. Default `.` */
  source: string
  /** Where releases live on a host. Default `~/webapps` */
  root: string
  /** More rsync patterns to leave out; .slipwayignore is read too. */
  exclude: string[]
  /** Run in a new version, in order, before it is live. */
  install: string[]
  /** Assets; after install, before the switch. */
  build: string[]
  /** Schema migration; after build, before the switch. */
  migrate?: string
  /** Which applied migrations are recorded, and how to reverse them. */
  migrations: 'django' | 'alembic' | 'none' | { list: string; reverse: string }
  /** Creates and fills a new database. Its questions are answered at the terminal or from secrets. */
  initDb?: string
  /** Variables of `initDb` alone, which answer its questions; values may be `secret:NAME`. */
  initAnswers?: Record<string, string>
  /** The app server, in the foreground. */
  server: string
  /** How it listens: a unix socket ($SLIPWAY_SOCKET) or a port ($PORT). */
  listen: { kind: 'socket' } | { kind: 'port'; port: number }
  /** Worker programs by name, in the foreground. TERM is a warm shutdown. */
  workers: Record<string, WorkerConfig>
  /** Seconds that the server gets to finish requests. Default 30 */
  drainSeconds: number
  /** The signal of the server's own reload, without SIG. */
  reload?: string
  /** The app server's own variable that means it only reads: it answers reads while a promotion holds writes. */
  readOnly?: { name: string; value: string }
  /** Whether restarts are that reload. */
  restartBy?: 'slots' | 'reload'
  health: HealthConfig
  /** Paths shared by the versions of a release, linked into each. */
  shared: Record<string, 'required' | 'seed' | 'template' | 'directory'>
  databases: Record<string, DatabaseConfig>
  /** Spool folders (queued mail) below the shared folder: moved in a promotion, never dropped. */
  spools: string[]
  /** Log files by name, relative to the release folder: `app = logs/pony.log`. */
  logs: Record<string, string>
  /** Paths in the release folder that the host's template app left there: removed by install. */
  remove: string[]
  /** Octal modes by path in the version: `pony/private_credentials.py = 400`. */
  modes: Record<string, number>
  /** Symlinks in the release folder: link → target relative to the version. */
  links: Record<string, string>
  /** Plain environment of server, workers and commands; values may be `secret:NAME`. */
  environment: Record<string, string>
  keepVersions: number
  /** A command whose exit 0 allows a deploy of $SLIPWAY_COMMIT, or `github:owner/repo`. */
  gate?: string
  smoke?: string
  hooks: Partial<Record<HookName, string[]>>
  schedule: Record<string, { when: string; command: string }>
}

export type HookName =
  | 'before_install'
  | 'after_install'
  | 'before_migrate'
  | 'after_migrate'
  | 'before_switch'
  | 'after_switch'
  | 'before_restart'
  | 'after_restart'
  | 'before_restore'
  | 'after_restore'
  | 'before_clone'
  | 'after_clone'
  | 'after_backup'
  | 'on_failure'

export interface WorkerConfig {
  command: string
  processes: number
  /** Seconds a draining worker gets before SIGKILL; longer than its longest job. Default 60 */
  stopSeconds: number
  /** On hosts, a command that succeeds once the worker is well. */
  health?: string
}

export interface HealthConfig {
  path: string
  status: number
  /** Text that the body has to contain. */
  body?: string
  deadlineMs: number
}

export type DatabaseConfig =
  | { kind: 'sqlite' /** Below the release's shared folder. */; path: string; role: 'data' | 'queue' }
  | {
      kind: 'postgres' | 'mysql' /** Name, or `secret:NAME` of a URL. */
      database: string
      host?: string
      port?: number
      user?: string
      role: 'data' | 'queue'
    }

interface DeploymentBase {
  name: string
  app: AppConfig
  /** The file of the app's own settings, relative to config/: staging.ini or an .env file. */
  settings?: string
  domain?: string
  branch?: string
  /** The deployment that is cloned into this one at every deploy. */
  cloneOnDeploy?: string
  place: Place
}

/** The settings of a deployment on hosts of one's own. */
export interface VpsConfig extends DeploymentBase {
  target: 'vps'
  /** ssh destinations. */
  hosts: string[]
  roles: Record<string, string[]>
  /** `2026r2`. Production has none: the host itself remembers. */
  release?: string
  /** What a promotion does with databases on servers. */
  database?: 'copy' | 'handover'
  /** SQL for what is cloned into this deployment: a file of the project. */
  scrub?: string
  services: 'supervisor' | 'systemd'
  /** The system's supervisord, in place of one of the release's own: where its programs are written, and its socket. */
  systemSupervisor?: { conf: string; socket: string }
  /** When the host makes backups by itself, as in a crontab. */
  backups?: string
  keepBackups: number
  /** Addresses and networks that get the app while the site is in maintenance. */
  maintenanceAllow: string[]
  /** The app's own maintenance. */
  maintenanceVariable?: { name: string; value: string }
}

/** The settings of a deployment on Heroku. */
export interface HerokuConfig extends DeploymentBase {
  target: 'heroku'
  /** The Heroku app's name. */
  herokuApp: string
  pipeline?: string
  region?: string
  stack?: string
  team?: string
  addons: Record<string, string>
  buildpacks: string[]
  features: string[]
  strategy: 'pipeline' | 'swap'
  /** `source` unless given: a tarball. */
  deployBy?: 'source' | 'git'
  /** PEM files of the domain's certificate, relative to the project, `~` being the home; automatic unless given. */
  certificate?: { certificate: string; key: string }
  /** SQL for what is cloned into this deployment: a file of the project. */
  scrub?: string
  /** `NAME` or `NAME=VALUE`: the app's own maintenance. */
  maintenanceVariable?: string
}

/** One deployment's settings: `target` tells which kind it is. */
export type DeploymentConfig = VpsConfig | HerokuConfig

export interface DomainsConfig {
  provider: 'nginx' | 'opalstack' | 'uberspace' | 'webfaction' | 'none'
  /** The provider's own keys. */
  options: Record<string, string>
}

export interface NotificationConfig {
  name: string
  kind: 'slack' | 'discord' | 'generic'
  /** May be `secret:NAME`. */
  url: string
  message: string
  on: ('announce' | 'deploy' | 'promote' | 'rollback' | 'failure')[]
}
