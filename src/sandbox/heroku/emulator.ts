/**
 * The platform on loopback: the Platform API, the data API, builds, dynos, logs, rendezvous, routers and real
 * databases, with faults on request. Clients that were not written here work against it.
 */

import { mkdir } from 'node:fs/promises'
import type { Server } from 'node:http'
import { accountRoutes } from './account.ts'
import { addonRoutes } from './addons.ts'
import { appRoutes, closeApp } from './apps.ts'
import { buildRoutes } from './builds.ts'
import { dataRoutes } from './data.ts'
import { dynoRoutes } from './dynos.ts'
import { Faults } from './faults.ts'
import { gitRoutes } from './git.ts'
import { ApiError, createApiServer, type Seen } from './http.ts'
import { logRoutes } from './logs.ts'
import { pipelineRoutes } from './pipelines.ts'
import { postgresCluster } from './postgres.ts'
import { redisServers } from './redis.ts'
import { releaseRoutes } from './releases.ts'
import { startRendezvous } from './rendezvous.ts'
import { type App, emptyState, type State } from './state.ts'
import type { World } from './world.ts'

export interface HerokuEmulator {
  readonly url: string
  readonly token: string
  /** What a client needs in its environment. */
  readonly env: Readonly<Record<string, string>>
  readonly state: State
  readonly faults: Faults
  /** Every call that was answered, oldest first. */
  readonly seen: readonly Seen[]
  /** Requests left in the hour. */
  remaining: number
  /** SQL in the database of an app's add-on, as superuser. */
  sql(app: string, sql: string): Promise<string>
  /** Ends every process and server that it started. */
  close(): Promise<void>
}

export interface EmulatorOptions {
  /** A folder of its own; what it writes stays below it. */
  dir: string
  port?: number
}

export async function startHerokuEmulator(options: EmulatorOptions): Promise<HerokuEmulator> {
  await mkdir(options.dir, { recursive: true })
  const faults = new Faults()
  const token = 'HRKU-00000000-0000-4000-8000-000000000000'
  const state = emptyState('ada@example.com', token)
  const api = createApiServer(faults)
  const rendezvous = await startRendezvous(options.dir, faults)
  const world: World = {
    dir: options.dir,
    state,
    faults,
    api,
    url: '',
    rendezvous,
    postgres: postgresCluster(`${options.dir}/postgres`),
    redis: redisServers(options.dir, rendezvous),
    tasks: new Set(),
    closing: false,
  }
  const routers = new Map<App, Server>()
  accountRoutes(world)
  appRoutes(world, routers)
  releaseRoutes(world)
  buildRoutes(world)
  dynoRoutes(world)
  addonRoutes(world)
  pipelineRoutes(world)
  logRoutes(world)
  dataRoutes(world)
  gitRoutes(world)
  api.route('PUT', '/_faults', ({ body }) => {
    const names = (body as { names?: string[] }).names ?? []
    try {
      faults.only(names)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      throw new ApiError(422, 'invalid_params', `There is no fault ${error.message}.`)
    }
    return { body: { names } }
  })
  api.server.keepAliveTimeout = 1000
  await new Promise<void>((resolve) => api.server.listen(options.port ?? 0, '127.0.0.1', resolve))
  const address = api.server.address()
  world.url = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
  return {
    url: world.url,
    token,
    env: {
      HEROKU_API_KEY: token,
      HEROKU_API_URL: world.url,
      HEROKU_HOST: world.url,
      HEROKU_DATA_HOST: world.url,
      HEROKU_GIT_URL: `${world.url}/_git`,
      HEROKU_CA_FILE: rendezvous.certificate,
    },
    state,
    faults,
    seen: api.seen,
    get remaining() {
      return api.remaining
    },
    set remaining(value: number) {
      api.remaining = value
    },
    async sql(app, sql) {
      const attachment = state.attachments.find((each) => each.app.name === app && each.name === 'DATABASE')
      if (!attachment?.addon.database) throw new Error(`${app} has no database`)
      return world.postgres.sql(attachment.addon.database.name, sql)
    },
    async close() {
      world.closing = true
      await Promise.all([...state.apps.values()].map((app) => closeApp(world, app, routers)))
      await Promise.all([...world.tasks])
      await rendezvous.close()
      api.server.closeAllConnections()
      await new Promise((resolve) => api.server.close(resolve))
      await Promise.all([world.postgres.close(), world.redis.close()])
    },
  }
}
