/** Where everything of a VPS deployment lies on a host, and the variables its commands have. Pure: paths from names. */
import { SlipwayError } from '../../events/errors.ts'

export interface ReleaseLayout {
  /** `pony2026r2` */
  name: string
  /** The release folder, absolute. */
  dir: string
  versions: string
  current: string
  shared: string
  settings: string
  /** The link that the app reads its settings through. */
  activeSettings: string
  bin: string
  start: string
  etc: string
  supervisorConf: string
  run: string
  supervisorSocket: string
  supervisorPid: string
  logs: string
  /** The tool's own records. */
  records: string
  versionRecords: string
  /** Empty files named `app` and `workers`: what a reboot brings back. */
  wanted: string
  version(id: string): string
  versionRecord(id: string): string
  /** The start script as it was when this version was installed. */
  versionStart(id: string): string
  slotSocket(slot: Slot): string
}

export type Slot = 'a' | 'b'
export const slots: readonly Slot[] = ['a', 'b']
export const otherSlot = (slot: Slot): Slot => (slot === 'a' ? 'b' : 'a')
/** The app server's program in it, as the supervisor knows it. */
export const program = (slot: Slot): string => `app-${slot}`

export interface AppLayout {
  /** `~/.slipway/pony`, absolute. */
  dir: string
  roles: string
  locks: string
  journals: string
  audit: string
  backups: string
  sites: string
  /** The folder of a deployment's site: its nginx.conf and current.sock. */
  site(deployment: string): string
  /** What the web server proxies to: a link to the slot that is live. */
  currentSocket(deployment: string): string
}

/** `~/x` as an absolute path; `home` is the host's. */
export function absolute(path: string, home: string): string {
  if (path === '~') return home
  if (path.startsWith('~/')) return `${home}/${path.slice(2)}`
  return path.startsWith('/') ? path : `${home}/${path}`
}

/** `2026r2` of pony → `pony2026r2`. */
export const releaseName = (app: string, release: string): string => `${app}${release}`

/** `pony2026r2` → `2026r2`. */
export const releaseOf = (app: string, name: string): string => (name.startsWith(app) ? name.slice(app.length) : name)

/** The longest path that a unix socket can have on Linux (sun_path holds 108 bytes with its end). */
const longestSocket = 107
/** supervisord binds `supervisor.sock.PID` and links it: room for a pid. */
const pidRoom = 8

export function releaseLayout(root: string, home: string, name: string): ReleaseLayout {
  const dir = `${absolute(root, home)}/${name}`
  const socket = `${dir}/run/supervisor.sock`
  if (Buffer.byteLength(socket) + pidRoom > longestSocket) {
    throw new SlipwayError('socket-path', `the release folder's path is too long for sockets in it: ${dir}`, {
      state: 'Nothing was changed.',
      next: 'Set a shorter [app] root, or a shorter release name.',
    })
  }
  return {
    name,
    dir,
    versions: `${dir}/versions`,
    current: `${dir}/current`,
    shared: `${dir}/shared`,
    settings: `${dir}/settings`,
    activeSettings: `${dir}/settings/active`,
    bin: `${dir}/bin`,
    start: `${dir}/bin/start`,
    etc: `${dir}/etc`,
    supervisorConf: `${dir}/etc/supervisord.conf`,
    run: `${dir}/run`,
    supervisorSocket: socket,
    supervisorPid: `${dir}/run/supervisord.pid`,
    logs: `${dir}/logs`,
    records: `${dir}/.slipway`,
    versionRecords: `${dir}/.slipway/versions`,
    wanted: `${dir}/.slipway/wanted`,
    version: (id) => `${dir}/versions/${id}`,
    versionRecord: (id) => `${dir}/.slipway/versions/${id}.json`,
    versionStart: (id) => `${dir}/.slipway/versions/${id}.start`,
    slotSocket: (slot) => `${dir}/run/app-${slot}.sock`,
  }
}

export function appLayout(home: string, app: string): AppLayout {
  const dir = `${home}/.slipway/${app}`
  return {
    dir,
    roles: `${dir}/roles.json`,
    locks: `${dir}/locks`,
    journals: `${dir}/journals`,
    audit: `${dir}/audit.log`,
    backups: `${dir}/backups`,
    sites: `${dir}/sites`,
    site: (deployment) => `${dir}/sites/${deployment}`,
    currentSocket: (deployment) => `${dir}/sites/${deployment}/current.sock`,
  }
}
