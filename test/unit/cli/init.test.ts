import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { detectApp, gitBranch, type ProjectFiles, sshAliases } from '../../../src/cli/init/detect.ts'
import { initFiles, templates, withIgnored } from '../../../src/cli/init/files.ts'
import { parseConfig } from '../../../src/config/index.ts'
import { repository } from '../../built.ts'

const project = (files: Record<string, string>, name = 'My Shop'): ProjectFiles => ({
  name,
  has: (path) => path in files,
  read: (path) => files[path],
  names: Object.keys(files),
})

const projects: Record<string, Record<string, string>> = {
  Django: {
    'manage.py': `os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')`,
    'requirements.txt': 'django\ngunicorn\n',
  },
  Flask: { 'app.py': '', 'requirements.txt': 'Flask==3\n' },
  Pyramid: { 'development.ini': '[app:main]\nuse = egg:shop\n', 'setup.py': '' },
  Rails: { Gemfile: `source 'x'\ngem 'rails', '~> 8'\n` },
  Node: {
    'package.json': '{"name":"@me/shop","scripts":{"start":"node server.js","build":"vite"}}',
    'server.js': '',
    'package-lock.json': '',
  },
  Procfile: { Procfile: 'web: bin/serve --port $PORT\nmailer: bin/mail\nrelease: bin/migrate\n' },
  'heroku.yml': {
    'heroku.yml':
      'build:\n  docker:\n    web: Dockerfile\nrelease:\n  image: web\n  command:\n    - bin/migrate\nrun:\n  web: bin/serve --port $PORT\n  mailer:\n    command:\n      - "bin/mail"\n',
  },
  'no framework that is known here': {},
}

describe('init', () => {
  it.each(Object.entries(projects))(
    'recognises %s, and what it writes is a valid configuration',
    (framework, files) => {
      const app = detectApp(project(files))
      expect(app.framework).toBe(framework)
      for (const target of ['vps', 'heroku'] as const) {
        const written = initFiles({ app, target, host: 'deploy@example.org', year: 2026 })
        const { config, mistakes } = parseConfig(
          written['config/deploy.ini']!,
          '/project',
          (path) => `config/${path}` in written,
        )
        expect(mistakes).toEqual([])
        expect(Object.keys(config?.deployments ?? {})).toEqual(['staging', 'production'])
      }
    },
  )

  it('names every template that there is, and copies none', () => {
    const shipped = readdirSync(join(repository, 'templates')).filter((name) => name.endsWith('.eta'))
    expect(Object.keys(templates).sort()).toEqual(shipped.sort())
    const written = initFiles({ app: detectApp(project({})), target: 'vps', host: 'h', year: 2026 })
    expect(Object.keys(written).filter((name) => name.startsWith('templates/'))).toEqual(['templates/README.md'])
    for (const name of shipped) expect(written['templates/README.md']).toContain(`\`${name}\``)
  })

  it('takes commands from what it finds', () => {
    expect(detectApp(project(projects['Django']!))).toMatchObject({
      server: 'exec .venv/bin/gunicorn --bind unix:$SLIPWAY_SOCKET shop.wsgi',
      migrations: 'django',
      hints: [],
    })
    expect(detectApp(project(projects['Node']!))).toMatchObject({
      name: 'shop',
      server: 'exec node server.js',
      build: ['npm run build'],
    })
    expect(detectApp(project(projects['Procfile']!))).toMatchObject({
      server: 'exec bin/serve --port $PORT',
      migrate: 'bin/migrate',
      workers: { mailer: 'exec bin/mail' },
    })
    expect(detectApp(project(projects['heroku.yml']!))).toMatchObject({
      server: 'exec bin/serve --port $PORT',
      migrate: 'bin/migrate',
      workers: { mailer: 'exec bin/mail' },
    })
    expect(detectApp(project({ 'package.json': '{"dependencies":{"slipway":"*"}}' })).framework).toMatch(
      /^no framework/,
    )
    expect(detectApp(project({}, '9 Lives!')).name).toBe('lives')
  })

  it('knows whether a project is in git, and on which branch', () => {
    expect(gitBranch(project({}))).toBeUndefined()
    expect(gitBranch(project({ '.git/HEAD': 'ref: refs/heads/feature/x\n' }))).toBe('feature/x')
    expect(gitBranch(project({ '.git/HEAD': '0123abc\n' }))).toBe('a commit')
  })

  it('adds to .gitignore what is missing, and nothing twice', () => {
    expect(withIgnored('')).toBe('.env\n.slipway/\nnode_modules/\n')
    expect(withIgnored('/node_modules\n.env')).toBe('/node_modules\n.env\n.slipway/\n')
    expect(withIgnored('.env\n.slipway\nnode_modules/\n')).toBeUndefined()
  })

  it('knows the hosts of ssh’s configuration', () => {
    expect(sshAliases('Host web1 web2\n  User x\nHost *.example.org !not\nhost db\nMatch all\n')).toEqual([
      'web1',
      'web2',
      'db',
    ])
  })
})
