/** A deployment on Heroku: the contract of targets/deployment.ts over the platform's API. Imported when first used. */
import type { HerokuConfig } from '../../config/types.ts'
import { UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { hostGroup } from '../../hosts/index.ts'
import type { DeployOptions, InstallOptions, Version } from '../deployment.ts'
import { requireCommand } from '../one-off.ts'
import { buildAndRelease, proved, released, webUrl } from './build.ts'
import { locked, tell } from './change.ts'
import { clone } from './clone.ts'
import { type HerokuContext, type HerokuSetup, herokuContext, ofRun } from './context.ts'
import { database } from './database.ts'
import type { HerokuDeployment } from './deployment.ts'
import { domains } from './domains.ts'
import { formationOf } from './dynos.ts'
import { appLog, type LogFilter } from './logs.ts'
import { maintenance } from './maintenance.ts'
import { runAttached, runDetached } from './one-off.ts'
import * as postgres from './postgres.ts'
import { type PromoteOptions, promoteByPipeline } from './promotion.ts'
import { schedule } from './schedule.ts'
import { server, workers } from './services.ts'
import { settings } from './settings.ts'
import { packSource } from './source.ts'
import { status } from './status.ts'
import { asVersion, releasesOf, rollbackTarget, rollbackTo, warnOfConfigChange } from './versions.ts'

export type { HerokuSetup } from './context.ts'
export type { PromoteOptions } from './promotion.ts'

/** The deployment that `config` describes. Connects to nothing until an operation is called. */
export function herokuDeployment(config: HerokuConfig, setup: HerokuSetup): HerokuDeployment {
  const context = herokuContext(config, setup)
  const deploy = (options: DeployOptions & InstallOptions): Promise<Version> =>
    locked(context, 'deploy', async () => {
      await cloneFirst(context)
      const release = await buildAndRelease(context, options)
      const version = asVersion(release)
      await tell(context, 'deploy', version.commit ?? version.id)
      return version
    })
  return {
    target: 'heroku',
    config,
    name: config.name,
    appName: config.app.name,
    deploy: (options = {}) => deploy(options),
    async upload(options = {}) {
      // What can't be deployed is refused now; what can is remembered for `install` of the same run.
      const { what } = await packSource(context, options)
      ofRun(context).upload = options
      const text = `${what}: on Heroku the code travels with the build, which is install_app`
      currentRun().emit({ type: 'note', host: context.app, text })
    },
    install: (options = {}) => deploy({ ...ofRun(context).upload, ...options }),
    async initApp(options = {}) {
      const { init } = await import('./init.ts')
      await init(context, options)
    },
    login: async () => (await operator()).herokuLogin(context.env),
    apps: async (team) => (await (await operator()).herokuApps(context, team)).map((each) => each.name),
    gitRemote: async () => (await operator()).gitRemote(context),
    runLocally: async (options) => (await operator()).runLocally(context, options),
    resize: async (sizes) => (await import('./resize.ts')).resize(context, sizes),
    scheduleBackups: (at) =>
      locked(context, 'schedule backups', async () => {
        const attachment = await postgres.requireDatabase(context)
        if (at) await postgres.scheduleBackups(context, attachment, at)
        else await postgres.unschedule(context, attachment)
      }),
    backupSchedules: async () => {
      const all = await postgres.schedulesOf(context, await postgres.requireDatabase(context))
      return all.map(({ hour, timezone }) => ({ hour, timezone }))
    },
    attachDatabase: (addon) =>
      locked(context, 'attach a database', async () => {
        await postgres.attachDatabase(context, addon)
      }),
    resetDatabase: async () => (await import('./reset.ts')).reset(context),
    credentials: async () => postgres.credentials(context, await postgres.requireDatabase(context)),
    versions: async () => (await releasesOf(context, 200)).map(asVersion),
    rollback: (options = {}) => locked(context, 'rollback', () => rollback(context, options)),
    async prune() {
      currentRun().emit({ type: 'note', host: context.app, text: 'Heroku keeps the releases itself: nothing to prune' })
      return []
    },
    server: server(context),
    workers: workers(context),
    database: database(context),
    settings: settings(context),
    domains: domains(context),
    maintenance: maintenance(context),
    schedule: schedule(context),
    async run(command, options = {}) {
      requireCommand(command)
      const words = await procfileCommand(context, command)
      if (options.detach) {
        await runDetached(context, words)
        return 0
      }
      return (await runAttached(context, words, { terminal: true, result: true })).exitCode
    },
    status: () => status(context),
    logs: (options = {}) => appLog(context, options, filterOf(options.source)),
    url: async () => (config.domain ? `https://${config.domain}/` : webUrl(context)),
    role: (name) => hostGroup(`${name} of ${config.name}`, []),
    hosts: hostGroup(config.name, []),
  }
}

const operator = () => import('./operator.ts')

/** Makes what `from` runs that of `to`. */
export async function promoteHeroku(
  from: HerokuDeployment,
  to: HerokuDeployment,
  options: PromoteOptions & { setup: HerokuSetup },
): Promise<void> {
  const source = herokuContext(from.config, options.setup)
  const target = herokuContext(to.config, options.setup)
  if (source.app === target.app)
    throw new UsageError('same-app', `[${from.name}] and [${to.name}] are both ${source.app}`)
  if (to.config.strategy === 'swap') {
    const { promoteBySwap } = await import('./swap.ts')
    return promoteBySwap(source, target, options)
  }
  return promoteByPipeline(source, target, options)
}

/** `app` and `web` are the server's lines, `worker` all types of worker, `heroku` the platform's own; or a dyno. Several with commas. */
function filterOf(source: string | undefined): LogFilter {
  if (source === undefined) return {}
  if (source.includes(',')) return { anyOf: source.split(',').map((each) => each.trim()) }
  if (source === 'heroku') return { source }
  if (source === 'app') return { dyno: 'web' }
  return { dyno: source }
}

/** A first word that names a process type runs that type's command. */
async function procfileCommand(
  context: HerokuContext,
  command: readonly string[],
): Promise<readonly string[] | string> {
  if (command.length === 0)
    throw new UsageError('no-command', 'there is no command to run', { next: 'tasks run:release=staging -- ls -l' })
  const [word, ...rest] = command
  if (rest.length > 0 || !/^[A-Za-z0-9_-]+$/.test(word ?? '')) return command
  const type = (await formationOf(context)).find((each) => each.type === word)
  return type ? type.command : command
}

async function cloneFirst(context: HerokuContext): Promise<void> {
  const name = context.deployment.cloneOnDeploy
  if (name === undefined) return
  const source = context.config.deployments[name]
  if (source?.target !== 'heroku') {
    throw new UsageError('clone-on-deploy', `clone_on_deploy = ${name}: there is no such deployment on Heroku`, {
      state: 'Nothing was changed.',
    })
  }
  await clone(herokuContext(source, { config: context.config, env: context.env }), context.deployment, { agreed: true })
}

async function rollback(context: HerokuContext, options: { to?: string; migrate?: boolean }): Promise<Version> {
  const { from, target } = await rollbackTarget(context, options.to)
  await warnOfConfigChange(context, target)
  if (options.migrate) {
    const { reverseMigrations } = await import('./reverse.ts')
    await reverseMigrations(context, target)
  }
  const made = await rollbackTo(context, target.id)
  if (currentRun().options.dryRun) return asVersion(target)
  const ended = await released(context, made.id, from)
  const version = asVersion(await proved(context, ended, undefined))
  await tell(context, 'rollback', `v${target.version}`)
  return version
}
