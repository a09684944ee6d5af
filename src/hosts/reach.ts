/** What parts of this folder need of a host beyond what everybody may use: its connection. */
import { SlipwayError } from '../events/errors.ts'
import type { Host } from './host.ts'
import type { Transport } from './transport.ts'

const key: unique symbol = Symbol('reach')

export interface Reach {
  transport(): Promise<Transport>
}

/** `host` with its connection within reach. */
export function withReach<T extends Host>(host: T, found: Reach): T {
  return Object.defineProperty(host, key, { value: found })
}

export function reach(host: Host): Reach {
  const found = (host as Host & { [key]?: Reach })[key]
  if (!found) throw new SlipwayError('no-connection', `${host.name} has no connection of its own`, { host: host.name })
  return found
}
