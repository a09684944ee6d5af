// node scripts/picture.mjs [FILE]: the picture in README.md, from a real run on a real terminal. Builds nothing: run
// `npm run build` first. A copy of this repository's project is deployed to a sandbox of its own, changed, deployed
// again; what the terminal shows in the end becomes an SVG. The home of the sandbox is written ~.
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { finalScreen, svg } from './picture-screen.mjs'

const repository = join(import.meta.dirname, '..')
const file = process.argv[2] ?? join(repository, 'docs/public/pictures/deploy.svg')
const [columns, rows] = [100, 60]

const dir = mkdtempSync(join(tmpdir(), 'slipway-picture-'))
const project = join(dir, 'pony')
const bin = join(dir, 'bin')
const { NODE_EXTRA_CA_CERTS: _certificates, NO_COLOR: _plain, ...inherited } = process.env
const env = {
  ...inherited,
  PATH: `${bin}:${process.env.PATH}`,
  TERM: 'xterm-256color',
  XDG_CACHE_HOME: join(dir, 'cache'),
  PONY_ADMIN_PASSWORD: 'only for the picture',
  SLIPWAY_USER: 'ann',
}
delete env.CI

const sh = (command) => execFileSync('sh', ['-c', command], { cwd: project, env, stdio: ['ignore', 'pipe', 'inherit'] })

try {
  for (const part of ['tasks.ts', 'config', 'templates', 'examples']) {
    cpSync(join(repository, part), join(project, part), { recursive: true })
  }
  mkdirSync(bin)
  for (const command of ['tasks', 'slipway']) {
    const run = `#!/bin/sh\nexec '${process.execPath}' '${repository}/dist/bin/${command}.js' "$@"\n`
    writeFileSync(join(bin, command), run, { mode: 0o755 })
  }
  sh(
    'git init -q && git add . && git -c user.name=ann -c user.email=ann@example.org commit -qm "Open the registration"',
  )
  sh('slipway sandbox up')
  const { home } = JSON.parse(sh('slipway sandbox status --json').toString())
  sh('tasks -q --sandbox init_staging_app init_staging start_app:release=staging start_staging_supervisor')
  appendFileSync(join(project, 'examples/pony/pony/pages.py'), '\n# A change to deploy.\n')
  sh('git -c user.name=ann -c user.email=ann@example.org commit -qam "Say when the next brevet is"')
  const lines = ['tasks --sandbox deploy_staging', 'tasks --sandbox status'].flatMap((command) => [
    [
      { text: '$ ', style: 'dim' },
      { text: command, style: 'bold' },
    ],
    ...onTerminal(command).map((line) => shortened(line, home)),
    [],
  ])
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, svg(lines.slice(0, -1), columns))
  console.log(file)
} finally {
  spawnSync('slipway', ['sandbox', 'reset'], { cwd: project, env })
  spawnSync('slipway', ['sandbox', 'down'], { cwd: project, env })
  rmSync(dir, { recursive: true, force: true })
}

/** What a terminal shows once `command` has ended: lines of styled pieces. */
function onTerminal(command) {
  const typescript = join(dir, 'typescript')
  const run = spawnSync('script', ['-qec', `stty cols ${columns} rows ${rows}; ${command}`, typescript], {
    cwd: project,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const recorded = readFileSync(typescript, 'utf8')
  if (run.status !== 0) throw new Error(`${command} failed:\n${recorded}`)
  return finalScreen(recorded.replace(/^Script started.*\n/, '').replace(/\nScript done[^\n]*\n?$/, ''))
}

function shortened(line, home) {
  return line.map(({ text, style }) => ({ text: text.replaceAll(home, '~').replaceAll(`${project}/`, ''), style }))
}
