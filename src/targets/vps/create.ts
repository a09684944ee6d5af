/** A deployment on hosts: the contract's operations, each in a file of its own that is loaded when first used. */
import type { Config, VpsConfig } from '../../config/types.ts'
import { UsageError } from '../../events/errors.ts'
import type { HostGroup } from '../../hosts/host.ts'
import { host, hostGroup } from '../../hosts/index.ts'
import type { LogLine, LogOptions, Service, Workers } from '../deployment.ts'
import type { VpsContext } from './context.ts'
import type { VpsDeployment } from './deployment.ts'

const everyRole = ['web', 'worker', 'database']

/** Hosts and roles of a deployment. Nothing connects before they are used. */
export function vpsContext(config: Config, deployment: VpsConfig): VpsContext {
  const names = [...new Set([...deployment.hosts, ...Object.values(deployment.roles).flat()])]
  const members = names.map((name) => host(name))
  const rolesOf = (name: string): string[] => {
    const configured = Object.keys(deployment.roles)
    const own = configured.filter((role) => deployment.roles[role]?.includes(name))
    const rest = everyRole.filter((role) => !configured.includes(role) && deployment.hosts.includes(name))
    return [...own, ...rest]
  }
  const roles = new Map(names.map((name) => [name, rolesOf(name)]))
  const group = (label: string, wanted: (name: string) => boolean): HostGroup =>
    hostGroup(
      label,
      members.filter((member) => wanted(member.name)),
      roles,
    )
  return {
    config,
    deployment,
    hosts: group(deployment.name, () => true),
    role(role) {
      const known = [...new Set([...everyRole, ...Object.keys(deployment.roles)])]
      if (!known.includes(role)) {
        throw new UsageError('no-role', `${deployment.name} has no role ${role}; there are ${known.join(', ')}`)
      }
      return group(role, (name) => roles.get(name)?.includes(role) ?? false)
    },
    home: () => members[0] as ReturnType<typeof host>,
  }
}

/** Operations of `load`'s module, once it is loaded; streams too. */
export function lazyService(load: () => Promise<Service>): Service {
  return {
    start: async () => (await load()).start(),
    stop: async () => (await load()).stop(),
    restart: async () => (await load()).restart(),
    status: async () => (await load()).status(),
    tail: (options) => stream(async () => (await load()).tail(options)),
  }
}

export async function* stream<T>(open: () => Promise<AsyncIterable<T>>): AsyncIterable<T> {
  yield* await open()
}

/** The deployment that `deployment` configures. */
export function createVpsDeployment(config: Config, deployment: VpsConfig): VpsDeployment {
  const context = vpsContext(config, deployment)
  const server = lazyService(async () => (await import('./server.ts')).serverOf(context))
  const loadWorkers = async () => (await import('./workers.ts')).workersOf(context)
  const workers: Workers = {
    ...lazyService(loadWorkers),
    scale: async (sizes) => (await loadWorkers()).scale(sizes),
  }
  return {
    target: 'vps',
    name: deployment.name,
    appName: deployment.app.name,
    config: deployment,
    hosts: context.hosts,
    role: (name) => context.role(name),
    release: async () => (await import('./release.ts')).currentRelease(context),
    deploy: async (options) => (await import('./deploy.ts')).deploy(context, options),
    upload: async (options) => (await import('./upload.ts')).upload(context, options),
    install: async (options) => (await import('./install.ts')).install(context, options),
    versions: async () => (await import('./versions.ts')).versions(context),
    rollback: async (options) => (await import('./versions.ts')).rollback(context, options),
    prune: async (options) => (await import('./versions.ts')).prune(context, options),
    server,
    workers,
    supervisor: {
      status: async () => (await import('./release.ts')).supervisorStatus(context),
      stop: async () => (await import('./release.ts')).stopSupervisor(context),
      tail: (options?: LogOptions): AsyncIterable<LogLine> =>
        stream(async () => (await import('./logs.ts')).readLogs(context, { ...options, source: 'supervisor' })),
    },
    database: {
      init: async (options) => (await import('./database/index.ts')).databaseOf(context).init(options),
      migrate: async () => (await import('./database/index.ts')).databaseOf(context).migrate(),
      backup: async () => (await import('./database/index.ts')).databaseOf(context).backup(),
      backups: async () => (await import('./database/index.ts')).databaseOf(context).backups(),
      restore: async (backup) => (await import('./database/index.ts')).databaseOf(context).restore(backup),
      fetch: async (directory) => (await import('./database/index.ts')).databaseOf(context).fetch(directory),
      copyTo: async (target) => (await import('./database/index.ts')).databaseOf(context).copyTo(target),
      verify: async (backup) => (await import('./database/index.ts')).databaseOf(context).verify(backup),
      size: async () => (await import('./database/index.ts')).databaseOf(context).size(),
      shell: async () => (await import('./database/index.ts')).databaseOf(context).shell(),
    },
    settings: {
      get: async () => (await import('./settings.ts')).settingsOf(context).get(),
      set: async (values) => (await import('./settings.ts')).settingsOf(context).set(values),
      diff: async () => (await import('./settings.ts')).settingsOf(context).diff(),
      push: async () => (await import('./settings.ts')).settingsOf(context).push(),
    },
    domains: {
      list: async () => (await import('./domains.ts')).domainsOf(context).list(),
      attach: async (domain) => (await import('./domains.ts')).domainsOf(context).attach(domain),
      verify: async (domain) => (await import('./domains.ts')).domainsOf(context).verify(domain),
    },
    maintenance: {
      on: async (options) => (await import('./maintenance.ts')).maintenanceOf(context).on(options),
      off: async () => (await import('./maintenance.ts')).maintenanceOf(context).off(),
      status: async () => (await import('./maintenance.ts')).maintenanceOf(context).status(),
      during: async (fn) => (await import('./maintenance.ts')).maintenanceOf(context).during(fn),
    },
    schedule: {
      list: async () => (await import('./schedule.ts')).scheduleOf(context).list(),
      push: async () => (await import('./schedule.ts')).scheduleOf(context).push(),
    },
    run: async (command, options) => (await import('./run.ts')).runCommand(context, command, options),
    status: async () => (await import('./status.ts')).status(context),
    logs: (options) => stream(async () => (await import('./logs.ts')).readLogs(context, options)),
    url: async () => (deployment.domain === undefined ? undefined : `https://${deployment.domain}/`),
    reload: async () => (await import('./reload.ts')).reloadServer(context),
    pruneReplaced: async (options) => (await import('./database/replaced.ts')).pruneReplaced(context, options),
    async initApp({ deploy, populate } = {}) {
      await (await import('./domains.ts')).initApp(context)
      await deploy?.()
      await populate?.()
    },
  }
}
