/** What the emulated platform knows: apps, releases, dynos, add-ons, pipelines. Plain data and a few look-ups. */
import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'

export interface Slug {
  id: string
  /** The folder with the built code; shared by every app that the slug was promoted to. */
  dir: string
  processTypes: Record<string, string>
  commit: string | null
  size: number
  createdAt: string
}

export interface Release {
  id: string
  version: number
  description: string
  status: 'pending' | 'succeeded' | 'failed'
  current: boolean
  slug: Slug | null
  /** The app's own variables as this release has them; add-ons' variables are not part of it. */
  config: Record<string, string>
  stream: OutputStream | null
  createdAt: string
  updatedAt: string
}

export interface Build {
  id: string
  status: 'pending' | 'succeeded' | 'failed'
  sourceUrl: string
  version: string | null
  checksum: string | null
  stream: OutputStream
  release: Release | null
  slug: Slug | null
  createdAt: string
  updatedAt: string
  buildpacks: { url?: string; name?: string }[]
  process?: ChildProcess
  canceled?: boolean
}

export interface Formation {
  id: string
  type: string
  quantity: number
  size: string
  command: string
  createdAt: string
}

export interface Dyno {
  id: string
  name: string
  type: string
  command: string
  size: string
  state: 'starting' | 'up' | 'crashed' | 'down' | 'idle'
  release: Release
  port: number
  attachUrl: string | null
  createdAt: string
  updatedAt: string
  process?: ChildProcess
  dir?: string
  /** Part of the formation, so the dyno manager keeps it running. */
  managed: boolean
  stopping: boolean
  /** Requests that the router is connecting to it. */
  connecting: number
  exited: Promise<number>
}

export interface Addon {
  id: string
  name: string
  service: string
  plan: string
  app: App
  state: 'provisioning' | 'provisioned' | 'deprovisioned'
  config: Record<string, string>
  /** Values by suffix: the attachment's name plus the suffix is the variable. */
  values: Record<string, string>
  message: string
  createdAt: string
  updatedAt: string
  database?: PgDatabase
}

export interface PgDatabase {
  name: string
  user: string
  password: string
  url: string
}

export interface Attachment {
  id: string
  name: string
  addon: Addon
  app: App
  createdAt: string
}

export interface Domain {
  id: string
  hostname: string
  kind: 'heroku' | 'custom'
  cname: string | null
  status: string
  acmStatus: string | null
  sniEndpoint: string | null
  createdAt: string
}

export interface SniEndpoint {
  id: string
  name: string
  certificateChain: string
  createdAt: string
}

export interface LogEntry {
  n: number
  at: string
  source: 'app' | 'heroku'
  dyno: string
  text: string
}

export interface App {
  id: string
  name: string
  stack: string
  buildStack: string
  region: string
  team: string | null
  maintenance: boolean
  acm: boolean
  config: Record<string, string>
  releases: Release[]
  builds: Build[]
  formation: Map<string, Formation>
  dynos: Dyno[]
  domains: Domain[]
  sni: SniEndpoint[]
  features: Set<string>
  buildpacks: string[]
  nextDyno: number
  logs: LogEntry[]
  logEvents: EventEmitter
  port: number
  createdAt: string
  updatedAt: string
  releasedAt: string | null
  /** Whether the platform is changing dynos for a release just now: releases come one after the other. */
  chain: Promise<unknown>
}

export interface Pipeline {
  id: string
  name: string
  createdAt: string
}

export interface Coupling {
  id: string
  app: App
  pipeline: Pipeline
  stage: string
  createdAt: string
}

export interface PromotionTarget {
  id: string
  app: App
  status: 'pending' | 'succeeded' | 'failed'
  release: Release | null
  error: string | null
}

export interface Promotion {
  id: string
  pipeline: Pipeline
  source: App
  release: Release
  targets: PromotionTarget[]
  createdAt: string
}

export interface Transfer {
  uuid: string
  num: number
  app: App
  fromType: string
  fromName: string
  fromUrl: string | null
  toType: string
  toName: string
  toUrl: string | null
  createdAt: string
  startedAt: string | null
  finishedAt: string | null
  canceledAt: string | null
  succeeded: boolean | null
  bytes: number
  /** What the database had, in bytes. */
  sourceBytes: number
  warnings: number
  logs: { created_at: string; message: string }[]
  file: string | null
  schedule: string | null
}

export interface Schedule {
  uuid: string
  addon: Addon
  name: string
  hour: number
  timezone: string
  createdAt: string
}

/** Text that grows: what a build or a release prints. Readers get what there is, then what comes. */
export class OutputStream extends EventEmitter {
  readonly id = randomUUID()
  text = Buffer.alloc(0)
  ended = false
  /** Requests that get a 404 before it is there, as on the platform. */
  missing = 1

  write(chunk: string | Buffer): void {
    this.text = Buffer.concat([this.text, Buffer.from(chunk)])
    this.emit('data')
  }

  end(): void {
    this.ended = true
    this.emit('data')
  }
}

export interface State {
  account: { id: string; email: string; name: string; twoFactor: boolean }
  tokens: Set<string>
  apps: Map<string, App>
  addons: Addon[]
  attachments: Attachment[]
  slugs: Map<string, Slug>
  sources: Map<string, Buffer | null>
  streams: Map<string, OutputStream>
  pipelines: Pipeline[]
  couplings: Coupling[]
  promotions: Promotion[]
  transfers: Transfer[]
  schedules: Schedule[]
  /** Names that the platform remembers as taken by others. */
  takenNames: Set<string>
  /** Apps that exist and that this account may not see. */
  foreignApps: Set<string>
  teams: string[]
}

export function emptyState(email: string, token: string): State {
  return {
    account: { id: randomUUID(), email, name: 'Ada Operator', twoFactor: false },
    tokens: new Set([token]),
    apps: new Map(),
    addons: [],
    attachments: [],
    slugs: new Map(),
    sources: new Map(),
    streams: new Map(),
    pipelines: [],
    couplings: [],
    promotions: [],
    transfers: [],
    schedules: [],
    takenNames: new Set(['www', 'status']),
    foreignApps: new Set(),
    teams: ['pony-team'],
  }
}

export const currentRelease = (app: App): Release | undefined => app.releases.find((release) => release.current)

/** The add-ons' variables of an app: attachment name plus each value's suffix. */
export function addonConfig(state: State, app: App): Record<string, string> {
  const config: Record<string, string> = {}
  for (const attachment of state.attachments) {
    if (attachment.app !== app || attachment.addon.state !== 'provisioned') continue
    for (const [suffix, value] of Object.entries(attachment.addon.values)) {
      config[`${attachment.name}${suffix}`] = value
    }
  }
  return config
}

export const fullConfig = (state: State, app: App): Record<string, string> => ({
  ...app.config,
  ...addonConfig(state, app),
})
