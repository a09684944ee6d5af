/** Tasks of this repository: they deploy examples/pony. `tasks` alone deploys to staging. */
import {
  application,
  browse,
  choice,
  exitWith,
  fileSize,
  flag,
  note,
  number,
  onHeroku,
  onHosts,
  processTable,
  rest,
  result,
  show,
  statusText,
  string,
  table,
  task,
  versionTable,
} from 'slipway'

const app = application({ deployments: ['staging', 'production'] }) // config/deploy.ini, read when first used

const release = app.deployment
const releaseToRead = app.deploymentToRead
const log = {
  follow: flag().about('go on until interrupted'),
  lines: number().default(20).about('how many of the last lines'),
  since: string().optional().about('from then on: 10m, or a date'),
  grep: string().optional().about('only lines with this'),
}

// ── Staging: from nothing to a running app ──────────────────────────────────────────────────────────────────────────

export const init_staging_app = task({
  group: 'staging',
  about: 'Make what a control panel would: the folder or the Heroku app, the site and its domain',
  once: true,
  run: () => app.staging.initApp(),
})

export const rsync_code = task({
  group: 'staging',
  about: 'Upload the code to staging, as a version of its own',
  params: {
    ref: string().optional().about('a branch, tag or commit; the working tree unless given'),
    allow_dirty: flag().about('upload changes that are not committed to a deployment with a branch'),
  },
  run: ({ ref, allow_dirty }) => app.staging.upload({ ref, allowDirty: allow_dirty }),
})

export const install_app = task({
  group: 'staging',
  about: 'Install the uploaded version: template app removed, modes, links, settings, start script, dependencies',
  params: { fresh: flag().about('with a new virtualenv or node_modules') },
  run: ({ fresh }) => app.staging.install({ fresh }),
})

export const init_staging_db = task({
  group: 'staging',
  about: 'Create the staging database and fill it',
  params: { force: flag().about('start over; what is there is kept in the backups') },
  run: ({ force }) => app.staging.database.init({ force }),
})

export const init_staging = task({
  group: 'staging',
  about: 'Everything that staging needs before it can be started',
  run: () =>
    app.staging.initApp({
      deploy: async () => {
        await rsync_code()
        await install_app()
      },
      populate: () => app.staging.database.init({ unlessThere: true }),
    }),
})

export const new_staging_release = task({
  group: 'staging',
  about: 'Begin a new staging release: `new_staging_release:2026r3`',
  params: { name: string().about('such as 2026r3') },
  run: ({ name }) => {
    app.setRelease(app.staging, name)
    note('next: tasks init_staging start_app:release=staging start_staging_supervisor')
  },
})

export const deploy_staging = task({
  group: 'staging',
  about: 'Deploy the code to staging and restart it',
  params: {
    ref: string().optional().about('a branch, tag or commit; the working tree unless given'),
    allow_dirty: flag().about('deploy changes that are not committed to a deployment with a branch'),
  },
  run: async ({ ref, allow_dirty }) => {
    await rsync_code({ ref, allow_dirty })
    await install_app()
    await restart_app({ release: app.staging })
    await restart_staging_supervisor()
  },
})
export default deploy_staging

// ── Running: the app server, the workers ────────────────────────────────────────────────────────────────────────────

export const start_app = task({
  group: 'running',
  about: 'Start the app server',
  params: { release },
  run: ({ release }) => release.server.start(),
})

export const stop_app = task({
  group: 'running',
  about: 'Stop the app server',
  params: { release },
  run: ({ release }) => release.server.stop(),
})

export const restart_app = task({
  group: 'running',
  about: 'Restart the app server without failing a request',
  params: { release },
  run: ({ release }) => release.server.restart(),
})

export const reload_app = task({
  group: 'running',
  about: 'Have the app server take up its settings without being started again, where it can: [app] reload',
  params: { release },
  run: ({ release }) => onHosts(release).reload(),
})

export const start_staging_supervisor = task({
  group: 'running',
  about: 'Start the staging workers under their supervisor',
  run: () => app.staging.workers.start(),
})

export const stop_staging_supervisor = task({
  group: 'running',
  about: 'Stop the staging workers; what they have in hand is finished',
  run: () => app.staging.workers.stop(),
})

export const restart_staging_supervisor = task({
  group: 'running',
  about: 'Restart the staging workers under their supervisor',
  run: () => app.staging.workers.restart(),
})

export const start_production_supervisor = task({
  group: 'running',
  about: 'Start the production workers under their supervisor',
  run: () => app.production.workers.start(),
})

export const stop_production_supervisor = task({
  group: 'running',
  about: 'Stop the production workers; what they have in hand is finished',
  run: () => app.production.workers.stop(),
})

export const restart_production_supervisor = task({
  group: 'running',
  about: 'Restart the production workers under their supervisor',
  run: () => app.production.workers.restart(),
})

export const scale = task({
  group: 'running',
  about: 'Set how many processes a worker has: `scale:release=staging,worker=mailer,to=2`',
  params: { release, worker: string(), to: number() },
  run: ({ release, worker, to }) => release.workers.scale({ [worker]: to }),
})

// ── Looking: status, processes, logs ────────────────────────────────────────────────────────────────────────────────

export const status = task({
  group: 'looking',
  about: 'One screen: version, processes, health, databases, domain, disk, lock',
  params: { release: releaseToRead },
  run: async ({ release }) => result(statusText(await release.status())),
})

export const ps = task({
  group: 'looking',
  about: 'What runs',
  params: { release: releaseToRead },
  run: async ({ release }) =>
    result(processTable([...(await release.server.status()), ...(await release.workers.status())])),
})

export const tail_app_log = task({
  group: 'looking',
  about: "The app's log",
  params: { release: releaseToRead, ...log },
  run: ({ release, ...options }) => show(release.logs({ source: 'app', ...options })),
})

export const tail_staging_supervisor_log = task({
  group: 'looking',
  about: "The staging supervisor's log",
  params: log,
  run: (options) => show(app.staging.logs({ source: 'supervisor', ...options })),
})

export const tail_production_supervisor_log = task({
  group: 'looking',
  about: "The production supervisor's log",
  params: log,
  run: (options) => show(app.production.logs({ source: 'supervisor', ...options })),
})

export const tail_staging_celery_log = task({
  group: 'looking',
  about: "The staging workers' log",
  params: log,
  run: (options) => show(app.staging.workers.tail(options)),
})

export const tail_production_celery_log = task({
  group: 'looking',
  about: "The production workers' log",
  params: log,
  run: (options) => show(app.production.workers.tail(options)),
})

export const logs = task({
  group: 'looking',
  about: 'All logs together, or one of them: `logs:release=staging,source=mailer`',
  params: { release: releaseToRead, source: string().optional(), ...log },
  run: ({ release, ...options }) => show(release.logs(options)),
})

export const audit = task({
  group: 'looking',
  about: 'Who changed what, and how it ended',
  params: { release: releaseToRead, lines: number().default(30) },
  run: async ({ release, lines }) => {
    for (const each of await app.audit(release, lines)) {
      result(
        [
          `${each.at}  ${each.outcome}  ${each.who}  ${each.deployment}: ${each.what}`,
          each.commit && `of ${each.commit.slice(0, 10)}`,
          each.detail && `(${each.detail})`,
        ]
          .filter(Boolean)
          .join(' '),
      )
    }
  },
})

// ── Versions ────────────────────────────────────────────────────────────────────────────────────────────────────────

export const deploy = task({
  group: 'versions',
  about: 'Deploy straight to a release: `deploy:release=production`',
  params: { release, ref: string().optional(), allow_dirty: flag() },
  run: async ({ release, ref, allow_dirty }) => {
    const version = await release.deploy({ ref, allowDirty: allow_dirty })
    note(`${version.id} is live`)
  },
})

export const versions = task({
  group: 'versions',
  about: 'The versions of a release, newest first',
  params: { release: releaseToRead },
  run: async ({ release }) => result(versionTable(await release.versions())),
})

export const rollback = task({
  group: 'versions',
  about: 'Go back to the version that was live before, or to another one',
  params: { release, to: string().optional().about('a version or a commit'), migrate: flag().about('the schema too') },
  run: async ({ release, to, migrate }) => {
    const version = await release.rollback({ to, migrate })
    note(`${version.id} is live again`)
  },
})

export const prune = task({
  group: 'versions',
  about: 'Remove old versions; never the current one or the one before',
  params: { release, keep: number().optional().about('how many that were live') },
  run: ({ release, keep }) => release.prune({ keep }),
})

export const run = task({
  group: 'versions',
  about: 'A command in the current version: `run:release=staging -- python3 -m pony.migrate --status`',
  params: { release, command: rest() },
  run: async ({ release, command }) => exitWith(await release.run(command)),
})

export const unlock = task({
  group: 'versions',
  about: 'Break the lock that a dead run left',
  params: { release },
  run: async ({ release }) => {
    const lock = await app.unlock(release)
    note(lock ? `it was ${lock.user}@${lock.machine}'s, since ${lock.since}: ${lock.command}` : 'there was no lock')
  },
})

// ── Production ──────────────────────────────────────────────────────────────────────────────────────────────────────

export const promote_staging_to_production = task({
  group: 'production',
  about: 'Make the staging release the production one; --plan shows every step first',
  params: {
    data: choice(['copy', 'fresh']).default('copy').about("production's data comes along, or it begins anew"),
    resume: flag().about('go on with one that stopped on its way'),
    undo: flag().about('take back one that stopped on its way'),
    close: flag().about('requests are answered 503 meanwhile, instead of waiting; on Heroku, maintenance'),
  },
  run: ({ close, ...options }) => app.promote(app.staging, app.production, { ...options, hold: !close }),
})

export const adopt_production = task({
  group: 'production',
  about: 'Make staging the production in place of an app that was deployed by hand, with its data',
  params: {
    from: string().about('the folder on the host in which that app lies, such as ~/webapps/pony2013r1'),
    data: string().optional().about('where data lies in it, if it is not found: main=pony.sqlite,mail=spool'),
    stop: string().optional().about('what stops it, run in that folder; TERM to its processes unless given'),
    start: string().optional().about('what starts it again, should all go back'),
  },
  run: (options) => app.adopt(app.staging, app.production, options),
})

export const demote = task({
  group: 'production',
  about: 'Go back to what was production before the last promotion, with all that was written since',
  params: {
    resume: flag().about('go on with one that stopped on its way'),
    undo: flag().about('take back one that stopped on its way'),
    close: flag().about('requests are answered 503 meanwhile, instead of waiting'),
  },
  run: ({ close, ...options }) => app.demote(app.staging, app.production, { ...options, hold: !close }),
})

export const promotions = task({
  group: 'production',
  about: 'Past promotions: how each ended, its steps with their times, and how long requests waited',
  run: async () => {
    for (const line of await app.promotions(app.production)) result(line)
  },
})

export const prune_promotions = task({
  group: 'production',
  about: 'Delete what past promotions kept: old releases with their data',
  params: { keep: number().default(1).about('former productions that stay, to go back to') },
  run: async ({ keep }) => {
    for (const path of await app.prunePromotions(app.production, { keep })) result(path)
  },
})

export const release_to_production = task({
  group: 'production',
  about: 'Deploy to production, prove it, and go back if it is not well',
  params: { ref: string().optional(), maintenance: flag().about('visitors get 503 meanwhile') },
  run: async ({ ref, maintenance }) => {
    const deployAndProve = () => app.production.deploy({ ref, smoke: true, announce: true })
    await (maintenance ? app.production.maintenance.during(deployAndProve) : deployAndProve())
  },
})

export const maintenance_on = task({
  group: 'production',
  about: 'Visitors get 503 and a page',
  params: { release, message: string().optional() },
  run: ({ release, message }) => release.maintenance.on({ message }),
})

export const maintenance_off = task({
  group: 'production',
  about: 'Visitors get the app again',
  params: { release },
  run: ({ release }) => release.maintenance.off(),
})

export const init_production_app = task({
  group: 'production',
  about: 'The same as init_staging_app for production',
  run: () => app.production.initApp(),
})

export const domains = task({
  group: 'production',
  about: 'The domains, and where DNS has to point',
  params: { release: releaseToRead },
  run: async ({ release }) => {
    for (const { domain, pointsAt, ok, detail } of await release.domains.list())
      result(
        `${domain}${pointsAt ? ` → ${pointsAt}` : ''}  ${[ok ? 'ok' : 'not yet', detail].filter(Boolean).join(', ')}`,
      )
  },
})

export const attach_domain = task({
  group: 'production',
  about: 'Lead a domain to a release: `attach_domain:release=staging,domain=www.example.org`',
  params: { release, domain: string() },
  run: ({ release, domain }) => release.domains.attach(domain),
})

export const verify_domain = task({
  group: 'production',
  about: 'Whether DNS points where it should',
  params: { release: releaseToRead, domain: string().optional() },
  run: ({ release, domain }) => release.domains.verify(domain),
})

export const setup_host = task({
  group: 'production',
  about: 'Print what root has to do once on a host, as a script',
  params: { release: releaseToRead },
  run: async ({ release }) => result(await app.hostSetup(release)),
})

export const open = task({
  group: 'production',
  about: 'Where a browser finds it; at a terminal it is opened there',
  params: { release: releaseToRead },
  run: async ({ release }) => {
    const url = await release.url()
    result(url ?? `${release.name} has no domain`)
    if (url) await browse(url)
  },
})

// ── Data and settings ───────────────────────────────────────────────────────────────────────────────────────────────

export const migrate = task({
  group: 'data',
  about: 'Bring the schema up to date with the current version',
  params: { release },
  run: ({ release }) => release.database.migrate(),
})

export const backup_db = task({
  group: 'data',
  about: 'Back up the databases, consistent while the app writes',
  params: { release },
  run: async ({ release }) => result((await release.database.backup()).id),
})

export const backups = task({
  group: 'data',
  about: 'The backups, newest first',
  params: { release: releaseToRead },
  run: async ({ release }) => {
    const rows = (await release.database.backups()).map((each) => [
      each.id,
      each.at,
      fileSize(each.bytes),
      each.databases.join(' '),
      each.scheduled ? 'on schedule' : '',
    ])
    result(table([['BACKUP', 'AT', 'SIZE', 'DATABASES', ''], ...rows]))
  },
})

export const verify_backup = task({
  group: 'data',
  about: 'Restore a backup into scratch databases and compare; the newest unless given',
  params: { release: releaseToRead, backup: string().optional() },
  run: ({ release, backup }) => release.database.verify(backup),
})

export const restore_db = task({
  group: 'data',
  about: 'Put a backup in the place of the data; what is there is backed up first',
  params: { release, backup: string() },
  run: ({ release, backup }) => release.database.restore(backup),
})

export const prune_replaced = task({
  group: 'data',
  about: 'Delete data that restores, clones and init_db took the place of; never the newest of each database',
  params: { release, keep: number().default(1).about('how many of each database stay') },
  run: async ({ release, keep }) => {
    for (const name of await onHosts(release).pruneReplaced({ keep })) result(name)
  },
})

export const fetch_db = task({
  group: 'data',
  about: 'Back up the databases and bring them to this machine',
  params: { release: releaseToRead, to: string().default('.') },
  run: async ({ release, to }) => {
    for (const path of await release.database.fetch(to)) result(path)
  },
})

export const clone_production_db_to_staging = task({
  group: 'data',
  about: "Put a copy of production's data in the place of staging's",
  run: () => app.production.database.copyTo(app.staging),
})

export const db_shell = task({
  group: 'data',
  about: "The database's own shell",
  params: { release },
  run: async ({ release }) => exitWith(await release.database.shell()),
})

export const settings = task({
  group: 'data',
  about: "Names of the app's settings; `values` shows what they are",
  params: { release: releaseToRead, values: flag() },
  run: async ({ release, values }) => {
    for (const [name, value] of Object.entries(await release.settings.get())) result(values ? `${name}=${value}` : name)
  },
})

export const set_settings = task({
  group: 'data',
  about: 'Change settings: `set_settings:release=staging -- pony.title="Brevets"`; NAME= removes one',
  params: { release, pairs: rest() },
  run: ({ release, pairs }) =>
    release.settings.set(
      Object.fromEntries(pairs.map((pair) => [pair.split('=', 1)[0], pair.slice(pair.indexOf('=') + 1) || null])),
    ),
})

export const diff_settings = task({
  group: 'data',
  about: 'What push_settings would change: names, never values',
  params: { release },
  run: async ({ release }) => {
    for (const { name, change } of await release.settings.diff()) result(`${change} ${name}`)
  },
})

export const push_settings = task({
  group: 'data',
  about: 'Render the settings of config/ onto the hosts again; restart_app takes them up',
  params: { release },
  run: ({ release }) => release.settings.push(),
})

export const schedule = task({
  group: 'data',
  about: 'Scheduled commands on the host',
  params: { release: releaseToRead },
  run: async ({ release }) => {
    for (const { name, when, command } of await release.schedule.list()) result(`${when}  ${name}: ${command}`)
  },
})

export const push_schedule = task({
  group: 'data',
  about: 'Make the scheduled commands on the host those of deploy.ini',
  params: { release },
  run: ({ release }) => release.schedule.push(),
})

// ── Only on Heroku ──────────────────────────────────────────────────────────────────────────────────────────────────

export const heroku_login = task({
  group: 'heroku',
  about: 'Keep an API token for later runs, after trying it',
  run: () => onHeroku(app.staging).login(),
})

export const heroku_apps = task({
  group: 'heroku',
  about: "The account's apps, or those of a team",
  params: { team: string().optional() },
  run: async ({ team }) => {
    for (const name of await onHeroku(app.staging).apps(team)) result(name)
  },
})

export const git_remotes = task({
  group: 'heroku',
  about: 'A git remote for each deployment, by its name, for `git push staging main`',
  run: async () => {
    for (const each of [app.staging, app.production]) await onHeroku(each).gitRemote()
  },
})

export const run_locally = task({
  group: 'heroku',
  about: "The Procfile's processes on this machine with a deployment's settings: `run_locally:release=staging -- web`",
  params: { release, port: number().default(5000), types: rest() },
  run: async ({ release, port, types }) =>
    exitWith(await onHeroku(release).runLocally({ port, ...(types.length > 0 ? { types } : {}) })),
})

export const resize = task({
  group: 'heroku',
  about: 'Set the size of the dynos of a process type: `resize:release=staging,worker=web,to=standard-1x`',
  params: { release, worker: string().about('a process type'), to: string().about('a size') },
  run: ({ release, worker, to }) => onHeroku(release).resize({ [worker]: to }),
})

export const schedule_backups = task({
  group: 'heroku',
  about: 'Daily backups at a whole hour: `schedule_backups:release=production,hour=2,zone=America/New_York`',
  params: { release, hour: number().optional().about('none from now on, without it'), zone: string().default('UTC') },
  run: ({ release, hour, zone }) =>
    onHeroku(release).scheduleBackups(hour === undefined ? undefined : { hour, timezone: zone }),
})

export const backup_schedules = task({
  group: 'heroku',
  about: 'When backups are made',
  params: { release: releaseToRead },
  run: async ({ release }) => {
    for (const { hour, timezone } of await onHeroku(release).backupSchedules())
      result(`daily at ${hour}:00 ${timezone}`)
  },
})

export const attach_db = task({
  group: 'heroku',
  about: "Make another of the account's databases the app's DATABASE",
  params: { release, addon: string() },
  run: ({ release, addon }) => onHeroku(release).attachDatabase(addon),
})

export const reset_db = task({
  group: 'heroku',
  about: 'Empty the database, once its name is typed; what is there is backed up first',
  params: { release },
  run: ({ release }) => onHeroku(release).resetDatabase(),
})

export const credentials = task({
  group: 'heroku',
  about: 'Who may log in to the database; no passwords',
  params: { release: releaseToRead },
  run: async ({ release }) => {
    for (const { name, state, users } of await onHeroku(release).credentials())
      result(`${name}  ${state}  ${users.join(' ')}`)
  },
})
