import { describe, expect, it } from 'vitest'
import { detectApp, type ProjectFiles, sshAliases } from '../../../src/cli/init/detect.ts'
import { initFiles, withIgnored } from '../../../src/cli/init/files.ts'
import { parseConfig } from '../../../src/config/index.ts'

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
    expect(detectApp(project({ 'package.json': '{"dependencies":{"slipway":"*"}}' })).framework).toMatch(
      /^no framework/,
    )
    expect(detectApp(project({}, '9 Lives!')).name).toBe('lives')
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
