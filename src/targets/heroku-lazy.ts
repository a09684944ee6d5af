/** A deployment on Heroku whose code is loaded when an operation is first called: listing tasks does without it. */
import type { Config, HerokuConfig } from '../config/types.ts'
import { hostGroup } from '../hosts/index.ts'
import type { HerokuDeployment } from './heroku/deployment.ts'
import { lazyService, stream } from './vps/create.ts'

export function lazyHeroku(config: Config, deployment: HerokuConfig): HerokuDeployment {
  let loaded: Promise<HerokuDeployment> | undefined
  const load = () => {
    loaded ??= import('./heroku/index.ts').then(({ herokuDeployment }) => herokuDeployment(deployment, { config }))
    return loaded
  }
  return {
    target: 'heroku',
    config: deployment,
    name: deployment.name,
    appName: deployment.app.name,
    hosts: hostGroup(deployment.name, []),
    role: (name) => hostGroup(`${name} of ${deployment.name}`, []),
    deploy: async (options) => (await load()).deploy(options),
    upload: async (options) => (await load()).upload(options),
    install: async (options) => (await load()).install(options),
    versions: async () => (await load()).versions(),
    rollback: async (options) => (await load()).rollback(options),
    prune: async (options) => (await load()).prune(options),
    server: lazyService(async () => (await load()).server),
    workers: {
      ...lazyService(async () => (await load()).workers),
      scale: async (sizes) => (await load()).workers.scale(sizes),
    },
    database: {
      init: async (options) => (await load()).database.init(options),
      migrate: async () => (await load()).database.migrate(),
      backup: async () => (await load()).database.backup(),
      backups: async () => (await load()).database.backups(),
      restore: async (backup) => (await load()).database.restore(backup),
      fetch: async (directory) => (await load()).database.fetch(directory),
      copyTo: async (target) => (await load()).database.copyTo(target),
      verify: async (backup) => (await load()).database.verify(backup),
      size: async () => (await load()).database.size(),
      shell: async () => (await load()).database.shell(),
    },
    settings: {
      get: async () => (await load()).settings.get(),
      set: async (values) => (await load()).settings.set(values),
      diff: async () => (await load()).settings.diff(),
      push: async () => (await load()).settings.push(),
    },
    domains: {
      list: async () => (await load()).domains.list(),
      attach: async (domain) => (await load()).domains.attach(domain),
      verify: async (domain) => (await load()).domains.verify(domain),
    },
    maintenance: {
      on: async (options) => (await load()).maintenance.on(options),
      off: async () => (await load()).maintenance.off(),
      status: async () => (await load()).maintenance.status(),
      during: async (fn) => (await load()).maintenance.during(fn),
    },
    schedule: {
      list: async () => (await load()).schedule.list(),
      push: async () => (await load()).schedule.push(),
    },
    run: async (command, options) => (await load()).run(command, options),
    status: async () => (await load()).status(),
    logs: (options) => stream(async () => (await load()).logs(options)),
    url: async () => (await load()).url(),
    initApp: async (options) => (await load()).initApp(options),
    login: async () => (await load()).login(),
    apps: async (team) => (await load()).apps(team),
    gitRemote: async () => (await load()).gitRemote(),
    runLocally: async (options) => (await load()).runLocally(options),
    resize: async (sizes) => (await load()).resize(sizes),
    scheduleBackups: async (at) => (await load()).scheduleBackups(at),
    backupSchedules: async () => (await load()).backupSchedules(),
    attachDatabase: async (addon) => (await load()).attachDatabase(addon),
    resetDatabase: async () => (await load()).resetDatabase(),
    credentials: async () => (await load()).credentials(),
  }
}
