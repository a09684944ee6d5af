/**
 * A supervisord, spoken to by XML-RPC through its unix socket over the host's connection: a release's own, or the
 * system's, where a release's programs are those whose names begin with its prefix. Writes are held back in a dry run.
 */
import { currentRun, OutcomeUnknownError, SlipwayError } from '../../events/index.ts'
import { ConnectError } from '../../hosts/errors.ts'
import type { Host, HostStream } from '../../hosts/host.ts'
import type { ProcessStatus } from '../deployment.ts'
import { type HttpConnection, httpOver } from './stream-http.ts'
import { decodeResponse, encodeCall, RpcFault, type RpcValue } from './xmlrpc.ts'

const faults = {
  shutdownState: 6,
  badName: 10,
  noFile: 20,
  spawnError: 50,
  alreadyStarted: 60,
  notRunning: 70,
  alreadyAdded: 90,
  stillRunning: 91,
  cantReread: 92,
} as const

export type StateName = 'STOPPED' | 'STARTING' | 'RUNNING' | 'BACKOFF' | 'STOPPING' | 'EXITED' | 'FATAL' | 'UNKNOWN'

export interface ProcessInfo {
  name: string
  group: string
  state: StateName
  pid: number
  /** Seconds since it was started; 0 unless it runs. */
  uptimeSeconds: number
  exitStatus: number
  detail: string
  /** False: it runs, and has not yet for a second; for what calls each process running from its first moment. */
  settled?: boolean
}

export const isUp = (info: ProcessInfo | undefined): boolean => info?.state === 'RUNNING' || info?.state === 'STARTING'
/** No process of it is there, and none will be started by itself. */
export const isDown = (info: ProcessInfo | undefined): boolean =>
  info === undefined || info.state === 'STOPPED' || info.state === 'EXITED' || info.state === 'FATAL'
export const hasFailed = (info: ProcessInfo | undefined): boolean =>
  info?.state === 'FATAL' || info?.state === 'BACKOFF' || info?.state === 'EXITED'

/** As the contract shows it. */
export function processStatus(info: ProcessInfo, host: Pick<Host, 'name'>): ProcessStatus {
  const states: Record<string, ProcessStatus['state']> = {
    RUNNING: 'running',
    STARTING: 'starting',
    STOPPING: 'stopping',
    STOPPED: 'stopped',
    BACKOFF: 'failed',
    FATAL: 'failed',
    EXITED: 'failed',
  }
  return {
    name: info.name,
    state: states[info.state] ?? 'failed',
    pid: info.pid > 0 ? info.pid : undefined,
    uptimeSeconds: info.pid > 0 ? info.uptimeSeconds : undefined,
    host: host.name,
    detail: info.detail || undefined,
  }
}

export interface Supervisor {
  /** As it is called in what is told. */
  readonly name: 'supervisord' | 'systemd'
  /** Whether it is the release's own, and ends with the last of its programs. */
  readonly own: boolean
  processes(): Promise<ProcessInfo[]>
  /** Returns without waiting; already running is fine. */
  start(...names: string[]): Promise<void>
  /** Sends the stop signal and returns; not running is fine. */
  stop(...names: string[]): Promise<void>
  /** Reads the configuration again, and takes added and removed programs up; `changed` ones that are down, too. */
  reload(): Promise<{ added: string[]; changed: string[]; removed: string[] }>
  /** Ends the daemon; returns at once. */
  shutdown(): Promise<void>
  pid(): Promise<number>
  /** The end of its own log. */
  logTail(bytes: number): Promise<string>
  /** Sends a signal to the main process of a program. */
  signal(name: string, signal: string): Promise<void>
  /** Rejects while a process of `names` is left that only this daemon knows of. `before` is what ran. */
  proveStopped?(before: readonly ProcessInfo[], names: readonly string[]): Promise<void>
  close(): void
}

const answerWithinMs = 10_000

/** The connection of a run to a daemon, kept over its operations. */
interface Kept {
  supervisor?: Supervisor
}

/** The daemon behind `socket`; undefined where nothing listens there. One connection a run. */
export async function connectSupervisor(
  host: Host,
  socket: string,
  /** Of the release's programs, in the system's supervisord. */
  prefix = '',
): Promise<Supervisor | undefined> {
  const run = currentRun()
  const kept = run.memo(`supervisor ${host.name} ${socket} ${prefix}`, (): Kept => ({}))
  if (kept.supervisor) return kept.supervisor
  let stream: HostStream
  try {
    stream = await host.openStream(socket)
  } catch (error) {
    if (run.signal.aborted || error instanceof OutcomeUnknownError) throw error
    if (error instanceof ConnectError && error.code !== 'stream-refused') throw error
    return undefined
  }
  const connection = httpOver(stream)
  const closed = () => {
    connection.close()
    kept.supervisor = undefined
  }
  kept.supervisor = client(host, connection, stream, closed, prefix)
  run.defer(closed)
  return kept.supervisor
}

function client(
  host: Host,
  connection: HttpConnection,
  stream: HostStream,
  close: () => void,
  prefix: string,
): Supervisor {
  const call = async (method: string, ...params: RpcValue[]): Promise<RpcValue> => {
    let answer: { status: number; body: string }
    try {
      answer = await connection.ask({
        path: '/RPC2',
        headers: { 'content-type': 'text/xml' },
        body: encodeCall(method, params),
        timeoutMs: answerWithinMs,
        maxBody: 8 * 1024 * 1024,
        signal: currentRun().signal,
      })
    } catch (cause) {
      close()
      if (currentRun().signal.aborted) throw currentRun().signal.reason
      const lost = await stream.lost?.(`${method} of supervisord`)
      if (lost) throw lost
      throw new SlipwayError(
        'supervisor-silent',
        `supervisord on ${host.name} did not answer ${method}: ${(cause as Error).message}`,
        {
          cause,
          host: host.name,
          state: 'The programs it runs are left as they are.',
          next: `Look at it on the host: \`slipway ssh ${host.name}\`.`,
        },
      )
    }
    if (answer.status !== 200) {
      throw new SlipwayError('supervisor-http', `supervisord on ${host.name} answered ${answer.status} to ${method}`, {
        host: host.name,
        detail: answer.body.slice(0, 400),
      })
    }
    return decodeResponse(answer.body)
  }

  /** Many calls in one request; answers `okFaults` are fine, any other is thrown. */
  const many = async (calls: readonly [string, ...RpcValue[]][], okFaults: readonly number[]): Promise<RpcValue[]> => {
    if (calls.length === 0) return []
    const answers = (await call(
      'system.multicall',
      calls.map(([methodName, ...params]) => ({ methodName, params })),
    )) as RpcValue[]
    return answers.map((answer, index) => {
      const fault = answer as { faultCode?: number; faultString?: string }
      if (fault?.faultCode === undefined || okFaults.includes(fault.faultCode)) return answer
      const [method, name] = calls[index] as [string, ...RpcValue[]]
      throw new RpcFault(fault.faultCode, `${fault.faultString ?? ''} (${method} ${String(name ?? '')})`.trim())
    })
  }

  const write = async (what: string, act: () => Promise<void>): Promise<void> => {
    const run = currentRun()
    if (run.options.dryRun) run.emit({ type: 'held-back', host: host.name, display: `supervisor: ${what}` })
    else await act()
  }

  const mine = (group: string) => group.startsWith(prefix)
  const infosOf = (answer: RpcValue): ProcessInfo[] =>
    (answer as Record<string, RpcValue>[])
      .map(readInfo)
      .filter((info) => mine(info.name))
      .map((info) => ({ ...info, name: info.name.slice(prefix.length) }))

  return {
    name: 'supervisord',
    own: prefix === '',
    async processes() {
      return infosOf(await call('supervisor.getAllProcessInfo'))
    },
    start: (...names) =>
      write(`start ${names.join(' ')}`, async () => {
        await many(
          names.map((name) => ['supervisor.startProcess', `${prefix}${name}`, false]),
          [faults.alreadyStarted, faults.spawnError],
        )
      }),
    stop: (...names) =>
      write(`stop ${names.join(' ')}`, async () => {
        await many(
          names.map((name) => ['supervisor.stopProcess', `${prefix}${name}`, false]),
          [faults.notRunning, faults.badName],
        )
      }),
    async reload() {
      const [answer, infos] = (await many([['supervisor.reloadConfig'], ['supervisor.getAllProcessInfo']], [])) as [
        [[string[], string[], string[]]],
        RpcValue,
      ]
      // What else the system's supervisord has found changed is for whoever changed it.
      const [added, changed, removed] = answer[0].map((groups) => groups.filter(mine)) as [string[], string[], string[]]
      const down = new Set(
        infosOf(infos)
          .filter(isDown)
          .map((info) => info.group),
      )
      const again = changed.filter((group) => down.has(group))
      await write(`take up ${[...added, ...again].join(' ')}`, async () => {
        await many(
          [
            ...removed
              .filter((group) => down.has(group))
              .map((group): [string, string] => ['supervisor.removeProcessGroup', group]),
            ...again.flatMap((group): [string, string][] => [
              ['supervisor.removeProcessGroup', group],
              ['supervisor.addProcessGroup', group],
            ]),
            ...added.map((group): [string, string] => ['supervisor.addProcessGroup', group]),
          ],
          [faults.alreadyAdded, faults.badName],
        )
      })
      return { added, changed, removed }
    },
    shutdown: () =>
      write('shutdown', async () => {
        await call('supervisor.shutdown')
      }),
    async pid() {
      return (await call('supervisor.getPID')) as number
    },
    async logTail(bytes) {
      const log = String(await call('supervisor.readLog', -bytes, 0))
      return prefix === '' ? log : log.replaceAll(`'${prefix}`, "'")
    },
    signal: (name, signal) =>
      write(`send ${signal} to ${name}`, async () => {
        await call('supervisor.signalProcess', `${prefix}${name}`, signal)
      }),
    close,
  }
}

function readInfo(info: Record<string, RpcValue>): ProcessInfo {
  const up = info['statename'] === 'RUNNING' || info['statename'] === 'STARTING'
  return {
    name: String(info['name']),
    group: String(info['group']),
    state: String(info['statename']) as StateName,
    pid: Number(info['pid']),
    uptimeSeconds: up ? Math.max(0, Number(info['now']) - Number(info['start'])) : 0,
    exitStatus: Number(info['exitstatus']),
    detail: String(info['spawnerr'] || info['description'] || ''),
  }
}
