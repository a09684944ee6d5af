/** What kind of app a project is, from its files: enough for a configuration to begin with. Reads, never runs. */

/** The project's files, as far as init looks at them. */
export interface ProjectFiles {
  /** The name of its folder. */
  name: string
  has(path: string): boolean
  /** Text, or undefined where there is no such file. */
  read(path: string): string | undefined
  /** Names in its top folder. */
  names: readonly string[]
}

export interface AppKind {
  /** `Django` … for the sentence that says what was found. */
  framework: string
  name: string
  server: string
  listen: string
  install: string[]
  build: string[]
  migrate?: string
  migrations?: string
  health: string
  workers: Record<string, string>
  /** What still has to be looked at by a person. */
  hints: string[]
}

export function detectApp(files: ProjectFiles): AppKind {
  const kind = detectors.reduce<Partial<AppKind> | undefined>((found, detect) => found ?? detect(files), undefined)
  const base: AppKind = {
    framework: 'no framework that is known here',
    name: plainName(files),
    server: 'exec python3 -m http.server $PORT --bind 127.0.0.1',
    listen: 'port 8001',
    install: [],
    build: [],
    health: '/',
    workers: {},
    hints: ['Say in [app] server how your app is started, in the foreground.'],
  }
  const app = { ...base, ...(kind ? { hints: [] } : {}), ...kind }
  const procfile = procfileOf(files)
  const manifest = herokuManifest(files.read('heroku.yml') ?? '')
  const { web, release, ...workers } = { ...manifest, ...procfile }
  return {
    ...app,
    ...(web && !kind ? { framework: procfile['web'] ? 'Procfile' : 'heroku.yml', server: exec(web), hints: [] } : {}),
    ...(release && !app.migrate ? { migrate: release } : {}),
    workers: {
      ...app.workers,
      ...Object.fromEntries(Object.entries(workers).map(([name, command]) => [name, exec(command)])),
    },
  }
}

type Detector = (files: ProjectFiles) => Partial<AppKind> | undefined

const socketServer = (command: string) => ({ server: `exec ${command}`, listen: 'socket' })

const python = (files: ProjectFiles): string[] => [
  'python3 -m venv .venv',
  files.has('requirements.txt')
    ? '.venv/bin/pip install --quiet -r requirements.txt'
    : '.venv/bin/pip install --quiet .',
]

const pythonText = (files: ProjectFiles) =>
  ['requirements.txt', 'pyproject.toml', 'setup.py', 'setup.cfg', 'Pipfile']
    .map((file) => files.read(file) ?? '')
    .join('\n')

const detectors: readonly Detector[] = [
  (files) => {
    const manage = files.read('manage.py')
    if (manage === undefined) return undefined
    const module = /DJANGO_SETTINGS_MODULE['"]\s*,\s*['"]([\w.]+)\.settings/.exec(manage)?.[1] ?? 'project'
    return {
      framework: 'Django',
      ...socketServer(`.venv/bin/gunicorn --bind unix:$SLIPWAY_SOCKET ${module}.wsgi`),
      install: python(files),
      build: ['.venv/bin/python manage.py collectstatic --noinput'],
      migrate: '.venv/bin/python manage.py migrate --noinput',
      migrations: 'django',
      hints: /gunicorn/i.test(pythonText(files))
        ? []
        : ['gunicorn has to be among the requirements, or another server named.'],
    }
  },
  (files) => {
    const ini = files.names.find((name) => name.endsWith('.ini') && /use\s*=\s*egg:/.test(files.read(name) ?? ''))
    if (ini === undefined && !/\bpyramid\b/i.test(pythonText(files))) return undefined
    return {
      framework: 'Pyramid',
      server: 'exec .venv/bin/pserve $SLIPWAY_SETTINGS http_port=$PORT',
      listen: 'port 8001',
      install: python(files),
      hints: ['config/staging.ini has to be your Pyramid settings, with `port = %(http_port)s` under [server:main].'],
    }
  },
  (files) => {
    if (!/\bflask\b/i.test(pythonText(files))) return undefined
    const module = ['wsgi', 'app', 'application'].find((name) => files.has(`${name}.py`)) ?? 'app'
    return {
      framework: 'Flask',
      ...socketServer(`.venv/bin/gunicorn --bind unix:$SLIPWAY_SOCKET ${module}:app`),
      install: python(files),
      hints: /gunicorn/i.test(pythonText(files))
        ? []
        : ['gunicorn has to be among the requirements, or another server named.'],
    }
  },
  (files) => {
    if (!/^\s*gem ['"]rails['"]/m.test(files.read('Gemfile') ?? '')) return undefined
    return {
      framework: 'Rails',
      ...socketServer('bundle exec puma -e production -b unix://$SLIPWAY_SOCKET'),
      install: ['bundle config set --local deployment true', 'bundle install --quiet'],
      build: ['bundle exec rails assets:precompile'],
      migrate: 'bundle exec rails db:migrate',
      health: '/up',
      hints: [],
    }
  },
  (files) => {
    const text = files.read('package.json')
    if (text === undefined) return undefined
    const { main, scripts = {} } = parsed<{ main?: string; scripts?: Record<string, string> }>(text)
    const entry = ['server.js', 'server.mjs', 'app.js', 'index.js', 'src/server.js', 'src/index.js'].find((file) =>
      files.has(file),
    )
    const start = scripts['start'] && /^node(\s|$)/.test(scripts['start']) ? scripts['start'] : undefined
    const file = entry ?? (main && files.has(main) ? main : undefined)
    // Also a project of tasks alone has a package.json.
    if (!start && !file && !scripts['start']) return undefined
    return {
      framework: 'Node',
      server: `exec ${start ?? (file ? `node ${file}` : 'npm start --silent')}`,
      listen: 'port 8001',
      install: files.has('package-lock.json') ? ['npm ci --omit=dev --no-audit --no-fund'] : [],
      build: scripts['build'] ? ['npm run build'] : [],
      hints: ['The server has to listen on 127.0.0.1, on the port of $PORT.'],
    }
  },
]

/** `exec`, so that signals reach the program and not a shell before it. */
const exec = (command: string) => (/^exec\s|[;&|]|^\w+=/.test(command) ? command : `exec ${command}`)

function procfileOf(files: ProjectFiles): Record<string, string> {
  const lines = (files.read('Procfile') ?? '').split('\n').flatMap((line) => {
    const [, name, command] = /^([A-Za-z0-9_-]+):\s*(.+)$/.exec(line.trim()) ?? []
    return name && command ? [[name, command] as const] : []
  })
  return Object.fromEntries(lines)
}

/** The commands of a heroku.yml: `run:` by process type, and `release:`. Its form is fixed, so no YAML reader is needed. Pure. */
function herokuManifest(text: string): Record<string, string> {
  const commands: Record<string, string> = {}
  let section = ''
  let type = ''
  for (const line of text.split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue
    const top = /^(\w+):\s*$/.exec(line)?.[1]
    if (top !== undefined) {
      section = top
      type = top === 'release' ? 'release' : ''
      continue
    }
    if (section !== 'run' && section !== 'release') continue
    const [, name, value = ''] = /^ {2}([\w-]+):\s*(.*)$/.exec(line) ?? []
    if (section === 'run' && name !== undefined) type = name
    const item = /^\s+-\s+(.*)$/.exec(line)?.[1]
    const command = (item ?? (section === 'run' || name === 'command' ? value : ''))
      .replace(/^(['"])(.*)\1$/, '$2')
      .trim()
    if (type !== '' && command !== '' && !/^[[{>|]/.test(command)) commands[type] ??= command
  }
  return commands
}

/** The branch that a project's git is on; undefined where it is in none. */
export function gitBranch(files: ProjectFiles): string | undefined {
  const head = files.read('.git/HEAD')
  if (head === undefined) return undefined
  return /^ref: refs\/heads\/(.+)$/.exec(head.trim())?.[1] ?? 'a commit'
}

function plainName(files: ProjectFiles): string {
  const text = files.read('package.json')
  const named = text === undefined ? undefined : parsed<{ name?: string }>(text).name?.replace(/^@[^/]*\//, '')
  const name = (named ?? files.name)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
  return name || 'app'
}

function parsed<T extends object>(text: string): Partial<T> {
  try {
    return JSON.parse(text) as Partial<T>
  } catch {
    return {}
  }
}

/** Names of ~/.ssh/config that a person may mean: no patterns. */
export function sshAliases(config: string): string[] {
  return [...config.matchAll(/^\s*Host\s+(.+)$/gim)]
    .flatMap((match) => match[1]!.trim().split(/\s+/))
    .filter((name) => !/[*?!]/.test(name))
}
