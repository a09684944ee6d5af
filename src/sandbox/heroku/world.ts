/** What the parts of the emulator share. */

import type { Faults } from './faults.ts'
import { ApiError, type ApiServer } from './http.ts'
import type { PgCluster } from './postgres.ts'
import type { RedisServers } from './redis.ts'
import type { Rendezvous } from './rendezvous.ts'
import { type App, OutputStream, type State } from './state.ts'

export interface World {
  readonly dir: string
  readonly state: State
  readonly faults: Faults
  readonly api: ApiServer
  /** http://127.0.0.1:PORT */
  url: string
  readonly rendezvous: Rendezvous
  readonly postgres: PgCluster
  readonly redis: RedisServers
  /** Whatever is under way; awaited when the emulator closes. */
  readonly tasks: Set<Promise<unknown>>
  closing: boolean
}

/** Runs `work` beside the request that began it. A failure of it is the emulator's own bug: it is printed. */
export function background(world: World, work: () => Promise<unknown>): void {
  const task: Promise<unknown> = work()
    .catch((error: unknown) => {
      if (!world.closing) process.emitWarning(`emulator: ${error instanceof Error ? error.stack : String(error)}`)
    })
    .finally(() => world.tasks.delete(task))
  world.tasks.add(task)
}

export function findApp(world: World, identity: string): App {
  for (const app of world.state.apps.values()) if (app.id === identity || app.name === identity) return app
  if (world.state.foreignApps.has(identity)) {
    throw new ApiError(403, 'forbidden', `You do not have access to the app ${identity}.`)
  }
  throw new ApiError(404, 'not_found', "Couldn't find that app.", { resource: 'app' })
}

export function newStream(world: World): OutputStream {
  const stream = new OutputStream()
  world.state.streams.set(stream.id, stream)
  return stream
}

export const streamUrl = (world: World, stream: OutputStream): string => `${world.url}/_streams/${stream.id}`
