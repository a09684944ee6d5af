/**
 * Every key of config/deploy.ini in one table: its check, its default, and what the manual and the errors say of it.
 */
import * as kind from './values.ts'

export interface Key {
  /** A check from text to value. */
  type: (v: kind.V) => kind.TextSchema<unknown>
  about: string
  example: string
  /** As the manual shows it; what is used is in load.ts's defaults. */
  standard?: string
  required?: boolean
}

export type Keys = Readonly<Record<string, Key>>

const key = (type: Key['type'], about: string, example: string, more: Partial<Key> = {}): Key => ({
  type,
  about,
  example,
  ...more,
})

/** Keys of [app]; each may stand in a deployment's section too, and holds there instead. */
export const appKeys: Keys = {
  name: key(kind.plainName, 'The name of the app: releases are NAME + RELEASE.', 'pony', { required: true }),
  source: key(kind.text, 'The folder that is uploaded, relative to the project.', 'examples/pony', { standard: '.' }),
  root: key(kind.text, 'Where releases live on a host.', '~/webapps', { standard: '~/webapps' }),
  exclude: key(kind.list, 'More rsync patterns to leave out; .slipwayignore is read too.', 'docs/, *.psd'),
  install: key(
    kind.commands,
    'Commands, one a line, run in a new version before it is live.',
    'python3 -m venv .venv\n  .venv/bin/pip install -r requirements.txt',
  ),
  build: key(kind.commands, 'Commands that make assets: after install, before the switch.', 'npm run build'),
  migrate: key(kind.text, 'Schema migration: after build, before the switch.', 'python3 manage.py migrate --noinput'),
  migrations: key(
    kind.migrations,
    'How applied migrations are listed and reversed: django, alembic, or two lines, `list: COMMAND` (prints them, oldest first) and `reverse: COMMAND` (gets the last one that is to stay, or zero).',
    'django',
    { standard: 'none' },
  ),
  init_db: key(kind.text, 'Creates and fills a new database.', 'python3 -m pony.initialize_db'),
  server: key(
    kind.text,
    'The app server, in the foreground; on Heroku the Procfile says it.',
    'exec python3 -m pony.web',
    { required: true },
  ),
  listen: key(kind.listen, 'How the server listens: a unix socket ($SLIPWAY_SOCKET) or a port ($PORT).', 'port 8001', {
    standard: 'socket',
  }),
  reload: key(
    kind.oneOf('HUP', 'USR1', 'USR2', 'WINCH'),
    'The signal upon which the app server takes up new settings and code by itself, without ending (gunicorn: HUP).',
    'HUP',
  ),
  restart: key(
    kind.oneOf('slots', 'reload'),
    "How a deploy has the new version served: a second server that takes over (slots), or the running one's own reload.",
    'reload',
    { standard: 'slots' },
  ),
  read_only: key(
    kind.variable,
    "The app server's own variable that means that it writes nothing, NAME or NAME=VALUE: with it the old release answers GET and HEAD while a promotion holds all other requests.",
    'PONY_READ_ONLY=1',
  ),
  drain: key(kind.durationSeconds, 'How long the server gets to finish its requests.', '30s', { standard: '30s' }),
  health: key(kind.text, 'The path that answers when the app is well.', '/up', { standard: '/up' }),
  health_status: key(kind.count(100, 599), 'The status that a healthy app answers.', '200', { standard: '200' }),
  health_body: key(kind.text, 'Text that a healthy answer contains.', 'ok'),
  health_deadline: key(kind.durationMs, 'How long a started app may take to become healthy.', '60s', {
    standard: '30s',
  }),
  remove: key(
    kind.innerPaths,
    'Paths in the release folder that the host put there: removed by install.',
    'myapp, development.ini',
  ),
  spools: key(kind.innerPaths, 'Spool folders below the shared folder: moved by a promotion, never dropped.', 'mail'),
  keep_versions: key(kind.count(2), 'How many versions that were live are kept.', '5', { standard: '5' }),
  gate: key(
    kind.text,
    'A command whose success allows a deploy of $SLIPWAY_COMMIT, or github:OWNER/REPOSITORY.',
    'github:acme/pony',
  ),
  smoke: key(
    kind.text,
    'A command that proves a release to production, run in the new version.',
    'python3 -m pony.smoke',
  ),
}

/** Sub-sections of [app]; each may follow a deployment's name too: [staging.workers]. `value` checks each value. */
export const appTables: Readonly<Record<string, Key>> = {
  workers: key(
    kind.text,
    'Worker programs: NAME = COMMAND, in the foreground; TERM is a warm shutdown. NAME.processes and NAME.drain too, and on hosts NAME.health, a command that succeeds once it is well.',
    'mailer = exec python3 -m pony.worker',
  ),
  databases: key(
    kind.database,
    'Databases: NAME = sqlite PATH (in the shared folder) | postgres NAME | mysql NAME, then "queue" for a queue, host=, port=, user=.',
    'main = sqlite db/pony.sqlite',
  ),
  shared: key(
    kind.oneOf('required', 'seed', 'template', 'directory'),
    'Paths that the versions share, linked into each: directory (made), required (must be there), seed (copied from the first version), template (copied from PATH.template of the first version).',
    'media = directory',
  ),
  logs: key(kind.innerPath, 'Log files: NAME = path in the release folder.', 'app = logs/pony.log'),
  modes: key(kind.octalMode, 'Modes of files in the version.', 'pony/private_credentials.py = 400'),
  links: key(kind.innerPath, 'Links in the release folder to paths in the version.', 'pony = pony'),
  environment: key(
    kind.text,
    'Variables of server, workers and commands; a value may be secret:NAME.',
    'TZ = America/Vancouver',
  ),
  init_answers: key(
    kind.text,
    'Variables of init_db alone, which answer its questions; a value may be secret:NAME.',
    'ADMIN_PASSWORD = secret:ADMIN_PASSWORD',
  ),
  hooks: key(
    kind.commands,
    'Commands before and after: before_install, after_install, before_migrate, after_migrate, before_switch, after_switch, before_restart, after_restart, before_restore, after_restore, before_clone, after_clone, on_failure; on hosts after_backup, too, with $SLIPWAY_BACKUP.',
    'after_restart = python3 -m pony.warm_cache',
  ),
  schedule: key(
    kind.scheduled,
    'Scheduled commands: NAME = MINUTE HOUR DAY MONTH WEEKDAY COMMAND.',
    'expire = 15 3 * * * python3 -m pony.expire',
  ),
}

/** Keys of any deployment's section. */
export const deploymentKeys: Keys = {
  target: key(kind.oneOf('vps', 'heroku'), 'Where it runs: vps, or heroku.', 'vps', { required: true }),
  domain: key(kind.domain, 'The domain it answers at.', 'staging.pony.example.org'),
  settings: key(kind.innerPath, "The app's own settings: a file in config/.", 'staging.ini'),
  branch: key(kind.text, 'The branch that may be deployed here; a dirty tree is refused then.', 'main'),
  clone_on_deploy: key(
    kind.plainName,
    'The deployment whose data is cloned into this one at every deploy.',
    'production',
  ),
}

export const vpsKeys: Keys = {
  hosts: key(kind.list, 'ssh destinations, or aliases of ~/.ssh/config.', 'deploy@pony.example.org', {
    required: true,
  }),
  release: key(
    kind.plainName,
    'The release: its folder is ROOT/NAME+RELEASE. Production needs none: the host remembers.',
    '2026r2',
  ),
  database: key(
    kind.oneOf('copy', 'handover'),
    'What a promotion to it does with a database on a server: a new one that is a copy, or the one that both releases use, handed over. SQLite is always copied.',
    'handover',
    { standard: 'copy' },
  ),
  scrub: key(
    kind.innerPath,
    'An SQL file of the project, run on the first database of data when another deployment is cloned into this one, before anyone can use it.',
    'config/scrub.sql',
  ),
  services: key(
    kind.oneOf('supervisor', 'systemd'),
    "What runs server and workers: a supervisord, the release's own unless supervisor_conf is set, or units of the user's systemd.",
    'supervisor',
    { standard: 'supervisor' },
  ),
  supervisor_conf: key(
    kind.absolutePath,
    "The folder that the system's supervisord includes its programs from, for releases that run under that one. The account has to be able to write there.",
    '/etc/supervisor/conf.d',
  ),
  supervisor_socket: key(kind.absolutePath, "The socket of the system's supervisord.", '/var/run/supervisor.sock', {
    standard: '/var/run/supervisor.sock',
  }),
  backups: key(
    kind.when,
    "When the host backs up the databases by itself: MINUTE HOUR DAY MONTH WEEKDAY, or @daily; in the host's time.",
    '30 2 * * *',
  ),
  keep_backups: key(kind.count(1), 'How many of those backups are kept, and as many of the other ones.', '30', {
    standard: '14',
  }),
  maintenance_allow: key(
    kind.addresses,
    'Addresses and networks that get the app while its site is in maintenance.',
    '203.0.113.7, 2001:db8::/32',
  ),
  maintenance_variable: key(
    kind.variable,
    "The app server's own variable that means maintenance, for maintenance_on, in place of the site's page: NAME, or NAME=VALUE.",
    'MAINTENANCE_MODE=on',
  ),
}

export const vpsTables: Readonly<Record<string, Key>> = {
  roles: key(
    kind.list,
    'Which hosts do what: web, worker, database. Each host does everything unless given.',
    'web = web1.example.org, web2.example.org',
  ),
}

export const herokuKeys: Keys = {
  app: key(kind.plainName, "The Heroku app's name.", 'pony-staging', { required: true }),
  pipeline: key(kind.plainName, 'The pipeline it is in.', 'pony'),
  region: key(kind.plainName, 'The region of a new app.', 'eu', { standard: 'us' }),
  stack: key(kind.plainName, 'The stack of a new app.', 'heroku-24'),
  team: key(kind.plainName, 'The team that owns it.', 'acme'),
  deploy_by: key(
    kind.oneOf('source', 'git'),
    "How code gets there: a tarball of the source, or a push to the app's git repository.",
    'git',
    { standard: 'source' },
  ),
  buildpacks: key(kind.list, 'Buildpacks, in order.', 'heroku/nodejs, heroku/python'),
  features: key(kind.list, 'Features that are switched on.', 'log-runtime-metrics'),
  certificate: key(
    kind.text,
    'A PEM file with the certificate of `domain` and its chain, relative to the project; automatic certificates unless given.',
    'certificates/pony.pem',
  ),
  certificate_key: key(kind.text, "The certificate's private key: a PEM file.", '~/keys/pony.pem'),
  scrub: key(
    kind.innerPath,
    'An SQL file of the project, run on DATABASE when another deployment is cloned into this one, before its dynos may use it.',
    'config/scrub.sql',
  ),
  maintenance_variable: key(
    kind.text,
    "The app's own setting that means maintenance, for maintenance_on, in place of the platform's page: NAME, or NAME=VALUE.",
    'MAINTENANCE_MODE=on',
  ),
  strategy: key(
    kind.oneOf('pipeline', 'swap'),
    'How a promotion to it works: by the pipeline, or by a swap of the two apps.',
    'swap',
    { standard: 'pipeline' },
  ),
}

export const herokuTables: Readonly<Record<string, Key>> = {
  addons: key(kind.text, 'Add-ons: SERVICE = plan, then its options, NAME=VALUE.', 'heroku-postgresql = essential-0'),
}

/** Sections that stand alone. */
export const domainsKeys: Keys = {
  provider: key(
    kind.oneOf('nginx', 'opalstack', 'uberspace', 'webfaction', 'none'),
    'What attaches domains to sites: nginx, opalstack, uberspace, webfaction, or none.',
    'nginx',
    {
      standard: 'none',
    },
  ),
  listen: key(kind.list, 'nginx: what sites listen on, as in its `listen`.', '80, [::]:80', {
    standard: '80, [::]:80',
  }),
  email: key(kind.text, "nginx: the address that the certificates' issuer may write to.", 'admin@example.org'),
  certificate: key(
    kind.text,
    'nginx: a certificate of your own on the host, an absolute path, where `listen` says ssl; none is issued then.',
    '/etc/ssl/pony.pem',
  ),
  certificate_key: key(kind.text, 'nginx: its private key.', '/etc/ssl/private/pony.key'),
  url: key(kind.text, "opalstack, webfaction: another address of the provider's API.", 'https://api.example.org/'),
  user: key(kind.text, "webfaction: the account, where it is not the host's user.", 'pony'),
  machine: key(kind.text, 'webfaction: the server, where the account has several.', 'Web500'),
  version: key(kind.oneOf('1', '2'), 'webfaction: the version of the API.', '2', { standard: '1' }),
}

/** Keys of [notify.NAME]. */
export const notifyKeys: Keys = {
  kind: key(
    kind.oneOf('slack', 'discord', 'generic'),
    'The form of the message: slack, discord, or generic.',
    'slack',
    { standard: 'generic' },
  ),
  url: key(kind.text, 'The webhook; may be secret:NAME.', 'secret:SLACK_URL', { required: true }),
  message: key(
    kind.text,
    'The text, with {{user}} {{app}} {{url}} {{head}} {{release}} {{event}}.',
    '{{user}} deployed {{head}} to {{release}}',
    {
      standard: '{{user}}: {{event}} of {{app}} {{release}} ({{head}}) {{url}}',
    },
  ),
  on: key(
    kind.someOf('announce', 'deploy', 'promote', 'rollback', 'failure'),
    'When it is sent; announce: before a release to production begins.',
    'deploy, failure',
    {
      standard: 'deploy, promote, rollback, failure',
    },
  ),
}

export const hookNames = [
  'before_install',
  'after_install',
  'before_migrate',
  'after_migrate',
  'before_switch',
  'after_switch',
  'before_restart',
  'after_restart',
  'before_restore',
  'after_restore',
  'before_clone',
  'after_clone',
  'after_backup',
  'on_failure',
] as const
