/** A stream to a socket on a host that knows whether it ended because its connection was lost. */
import type { SlipwayError } from '../events/errors.ts'
import { currentRun } from '../events/run.ts'
import { connectionLost } from './errors.ts'
import type { HostStream } from './host.ts'
import type { Transport } from './transport.ts'

/** A channel closes a moment before the connection that it goes over, milliseconds. */
const closesWithin = 100

export async function openHostStream(host: string, line: Transport, path: string): Promise<HostStream> {
  const run = currentRun()
  const lost = async (what: string, started: boolean): Promise<SlipwayError | undefined> => {
    const reason = await Promise.race([line.lost, later(closesWithin)])
    if (reason === undefined) return undefined
    run.emit({ type: 'host.lost', host, reason: reason.message })
    return connectionLost(host, what, reason.message, started)
  }
  try {
    return Object.assign(await line.openStream(path), { lost: (what: string) => lost(what, true) })
  } catch (error) {
    throw (await lost(`a connection to the socket ${path}`, false)) ?? error
  }
}

const later = (ms: number) => new Promise<undefined>((resolve) => setTimeout(resolve, ms, undefined))
