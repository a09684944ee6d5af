/** A deployment's status as lines for a person. Pure. */
import type { DeploymentStatus, ProcessStatus, Version } from './deployment.ts'

/** What `status()` resolved with, as the lines that the task `status` shows. */
export function statusText(status: DeploymentStatus): string {
  const rows: [string, string][] = [
    [status.name, `${status.release}${status.role === 'none' ? '' : ` (${status.role})`} on ${status.target}`],
    ['version', status.version ? versionText(status.version) : 'none is installed'],
    [
      'app',
      `${processesText(status.server)}; ${status.healthy ? 'healthy' : 'NOT HEALTHY'}${status.health ? `: ${status.health}` : ''}`,
    ],
    ['workers', status.workers.length > 0 ? processesText(status.workers) : 'none'],
    [
      'databases',
      status.databases
        .map((each) => `${each.name} ${each.ok ? fileSize(each.bytes) : (each.detail ?? 'not there')}`.trimEnd())
        .join(', ') || 'none',
    ],
    [
      'domains',
      status.domains.map((each) => `${each.domain}${each.ok ? '' : ` (${each.detail ?? 'not ok'})`}`).join(', ') ||
        'none',
    ],
    ['maintenance', status.maintenance ? 'ON: visitors get 503' : 'off'],
  ]
  if (status.disk) rows.push(['disk', `${status.disk.usedPercent} % used, ${fileSize(status.disk.freeBytes)} free`])
  if (status.lock) rows.push(['lock', status.lock])
  if (status.unfinished) rows.push(['unfinished', status.unfinished])
  for (const warning of status.warnings) rows.push(['warning', warning])
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`).join('\n')
}

function processesText(processes: readonly ProcessStatus[]): string {
  if (processes.length === 0) return 'stopped'
  return processes
    .map(({ name, state, pid, uptimeSeconds }) =>
      [name, state, pid ? `pid ${pid}` : '', uptimeSeconds === undefined ? '' : `up ${uptime(uptimeSeconds)}`]
        .filter((part) => part !== '')
        .join(' '),
    )
    .join(', ')
}

/** Processes as a table, for `ps`. */
export function processTable(processes: readonly ProcessStatus[]): string {
  const rows = processes.map((each) => [
    each.name,
    each.state,
    each.pid === undefined ? '-' : String(each.pid),
    each.uptimeSeconds === undefined ? '-' : uptime(each.uptimeSeconds),
    each.version ?? '-',
    each.host ?? '-',
    each.detail ?? '',
  ])
  return table([['PROCESS', 'STATE', 'PID', 'UP', 'VERSION', 'HOST', ''], ...rows])
}

/** Versions as a table, the current one marked. */
export function versionTable(versions: readonly Version[]): string {
  return table([
    ['', 'VERSION', 'STATE', 'COMMIT', 'BY', 'AT'],
    ...versions.map((each) => [
      each.current ? '*' : '',
      each.id,
      each.state,
      each.commit?.slice(0, 10) ?? '-',
      each.by,
      each.at,
    ]),
  ])
}

/** Rows as text, with the columns lined up. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] as number))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const versionText = (version: Version): string =>
  `${version.id} (${version.state}${version.commit ? `, ${version.commit.slice(0, 10)}` : ''}, by ${version.by} at ${version.at})`

/** Bytes for people: `1.2 MB`. */
export function fileSize(bytes: number | undefined): string {
  if (bytes === undefined) return ''
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3))
  const value = bytes / 1000 ** power
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`
}

function uptime(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}
