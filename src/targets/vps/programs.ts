/** The programs of a release: the app server in its slots, and each process of each worker. Pure. */
import type { AppConfig } from '../../config/types.ts'

export interface Program {
  /** As supervisord knows it: `app-a`, `mailer-1`. */
  name: string
  kind: 'server' | 'worker'
  /** The worker's name, or `app`. */
  of: string
  slot?: 'a' | 'b'
  command: string
  stopSeconds: number
  /** Its log file in logs/. */
  log: string
}

/** `scale` holds the numbers of processes that `workers.scale` set; they win over the configuration's. */
export function programs(app: AppConfig, scale: Readonly<Record<string, number>> = {}): Program[] {
  const slots = app.listen.kind === 'socket' ? (['a', 'b'] as const) : (['a'] as const)
  const servers = slots.map(
    (slot): Program => ({
      name: `app-${slot}`,
      kind: 'server',
      of: 'app',
      slot,
      command: app.server,
      stopSeconds: app.drainSeconds,
      log: 'app.out',
    }),
  )
  const workers = Object.entries(app.workers).flatMap(([name, worker]) =>
    Array.from(
      { length: scale[name] ?? worker.processes },
      (_, index): Program => ({
        name: `${name}-${index + 1}`,
        kind: 'worker',
        of: name,
        command: worker.command,
        stopSeconds: worker.stopSeconds,
        log: `${name}.out`,
      }),
    ),
  )
  return [...servers, ...workers]
}

/**
 * The log files of a release by source, relative to its folder: what programs print, kept by supervisord, and beside it
 * what the app writes itself.
 */
export function logFiles(app: AppConfig): Record<string, string[]> {
  const files: Record<string, string[]> = { app: ['logs/app.out'] }
  for (const name of Object.keys(app.workers)) files[name] = [`logs/${name}.out`]
  files['supervisor'] = ['logs/supervisord.log']
  for (const [source, path] of Object.entries(app.logs)) files[source] = [...(files[source] ?? []), path]
  return files
}
