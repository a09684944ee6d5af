/** The files that `slipway init` writes, as text. Pure. */
import type { AppKind } from './detect.ts'

export interface InitChoices {
  app: AppKind
  target: 'vps' | 'heroku'
  /** The ssh destination, or a placeholder. */
  host: string
  /** The year, of the first release's name: 2026r1. */
  year: number
}

/** Path → text. */
export function initFiles(choices: InitChoices): Record<string, string> {
  return {
    'tasks.ts': tasksText(choices),
    'config/deploy.ini': deployText(choices),
    ...(choices.target === 'vps'
      ? {
          'config/staging.ini': settingsText('staging'),
          'config/production.ini': settingsText('production'),
          'templates/README.md': templatesText(),
        }
      : {}),
    '.env.example':
      '# Secrets of deployments: copy to .env, which is never committed. secret:NAME in config/ refers to them.\n',
  }
}

/** What is rendered onto hosts, and what each is. */
export const templates = {
  'nginx-site.conf.eta': "the web server's site of a deployment",
  'supervisord.conf.eta': "a release's own supervisord: the app server and the workers",
  'start.eta': 'the script that starts the app server, the workers and commands, with their environment',
  'boot.eta': 'the script that starts all of it again after a reboot',
  'rotate.eta': 'the script that keeps logs short',
  'backup.eta': "the script of the host's own backups",
} as const

function templatesText(): string {
  const lines = Object.entries(templates).map(([name, about]) => `- \`${name}\`: ${about}`)
  return `# Templates

What Slipway renders onto hosts is made from templates of its own. A file here with the same name is used in its place, each on its own:

${lines.join('\n')}

\`slipway init --templates\` copies them all here, to change them; delete what you don't change, so that it comes with new versions again. Templates of your own tasks belong here too: \`host.template('templates/motd.eta', '~/motd', { name })\`.
`
}

/** Lines that .gitignore needs: secrets, and what the tool keeps. */
const ignored = ['.env', '.slipway/', 'node_modules/'] as const

/** `text` with what is missing, or undefined where nothing is. */
export function withIgnored(text: string): string | undefined {
  const lines = text.split('\n').map((line) => line.trim().replace(/^\//, '').replace(/\/$/, ''))
  const missing = ignored.filter((line) => !lines.includes(line.replace(/\/$/, '')))
  if (missing.length === 0) return undefined
  return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${missing.join('\n')}\n`
}

function deployText({ app, target, host, year }: InitChoices): string {
  const keys = [
    ['name', app.name],
    ['server', app.server],
    ...(target === 'vps' ? [['listen', app.listen] as const] : []),
    ['install', app.install.join('\n  ')],
    ['build', app.build.join('\n  ')],
    ['migrate', app.migrate ?? ''],
    ['migrations', app.migrations ?? ''],
    ['health', app.health],
  ].filter(([, value]) => value !== '')
  const workers = Object.entries(app.workers).map(([name, command]) => `${name} = ${command}`)
  const comments = app.hints.map((hint) => `; ${hint}\n`).join('')
  return `; What runs where. \`slipway help configuration\` names every key.

[app]
${comments}${keys.map(([name, value]) => `${name} = ${value}`).join('\n')}
${workers.length > 0 ? `\n[app.workers]\n${workers.join('\n')}\n` : ''}
; Where the data is, so that it is backed up and comes along in a promotion. Paths are shared by all versions.
; [app.databases]
; main = sqlite db/app.sqlite              ; or: postgres NAME, mysql NAME
; [app.shared]
; db = directory
; media = directory
${target === 'vps' ? vpsSections(host, year, app) : herokuSections(app)}`
}

function vpsSections(host: string, year: number, app: AppKind): string {
  return `
[staging]
target = vps
hosts = ${host}
release = ${year}r1                           ; the folder is ~/webapps/${app.name}${year}r1
domain = staging.${app.name}.example.org
settings = staging.ini

[production]
target = vps                               ; which release it is, the host itself remembers
hosts = ${host}
domain = ${app.name}.example.org
settings = production.ini
${otherPort(app.listen)}
[domains]
provider = nginx                           ; nginx, opalstack, uberspace, webfaction, none
`
}

/** Two deployments of one host each need a port; a promotion needs a socket, which both can have. */
function otherPort(listen: string): string {
  const port = Number(/^port (\d+)$/.exec(listen)?.[1])
  if (!Number.isFinite(port)) return ''
  return `listen = port ${port + 1}                         ; a promotion needs \`listen = socket\` ($SLIPWAY_SOCKET)\n`
}

function herokuSections(app: AppKind): string {
  return `
[staging]
target = heroku
app = ${app.name}-staging
pipeline = ${app.name}

[production]
target = heroku
app = ${app.name}
pipeline = ${app.name}
`
}

const settingsText = (
  deployment: string,
) => `; The app's own settings for ${deployment}; on the host, SLIPWAY_SETTINGS is the path of this file.
; What stands in double braces is filled in there: secrets of .env, and keys that are made once (slipway help settings).
[app]
deployment = ${deployment}
`

function tasksText({ app, target }: InitChoices): string {
  const workers = Object.keys(app.workers).length > 0
  const data = [
    app.migrate &&
      "export const migrate = task({\n  about: 'Bring the schema up to date',\n  params: { release },\n  run: ({ release }) => release.database.migrate(),\n})\n",
    "export const backup_db = task({\n  about: 'Back up the databases',\n  params: { release },\n  run: async ({ release }) => result((await release.database.backup()).id),\n})\n",
  ].filter(Boolean)
  return `// The tasks of ${app.name}: \`tasks --list\`. Each export is one; they call each other as functions.
import { application, exitWith, flag, ${target === 'vps' ? 'onHosts, ' : ''}rest, result, show, statusText, task } from 'slipway'

const app = application({ deployments: ['staging', 'production'] }) // config/deploy.ini
const release = app.deployment
${
  target === 'vps'
    ? `
export const init_staging = task({
  about: 'Everything that staging needs before it is started: folder, site, code, dependencies',
  run: async () => {
    await onHosts(app.staging).initApp()
    await app.staging.upload()
    await app.staging.install()
  },
})
`
    : ''
}
export const deploy_staging = task({
  about: 'Deploy the code to staging and restart it',
  run: async () => {
    await app.staging.deploy()
  },
})
export default deploy_staging

export const promote_staging_to_production = task({
  about: 'Make what staging runs the production; --plan shows every step first',
  params: { resume: flag().about('go on with one that stopped'), undo: flag().about('take back one that stopped') },
  run: (options) => app.promote(app.staging, app.production, options),
})

export const start_app = task({
  about: 'Start the app server',
  params: { release },
  run: ({ release }) => release.server.start(),
})

export const stop_app = task({
  about: 'Stop the app server',
  params: { release },
  run: ({ release }) => release.server.stop(),
})

export const restart_app = task({
  about: 'Restart the app server',
  params: { release },
  run: ({ release }) => release.server.restart(),
})
${
  workers
    ? `
export const restart_workers = task({
  about: 'Restart the workers; what they have in hand is finished',
  params: { release },
  run: ({ release }) => release.workers.restart(),
})
`
    : ''
}
export const status = task({
  about: 'Version, processes, health, databases, domain',
  params: { release: app.deploymentToRead },
  run: async ({ release }) => result(statusText(await release.status())),
})

export const tail_app_log = task({
  about: "The app's log",
  params: { release: app.deploymentToRead, follow: flag() },
  run: ({ release, follow }) => show(release.logs({ source: 'app', follow })),
})

export const run = task({
  about: 'A command in the current version: \`run:release=staging -- env\`',
  params: { release, command: rest() },
  run: async ({ release, command }) => exitWith(await release.run(command)),
})

${data.join('\n')}`
}
