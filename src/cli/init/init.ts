/** `slipway init`: looks at a project, writes what is missing, and says what to type next. Overwrites nothing. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import type { Io } from '../io.ts'
import { taskFileIn } from '../nearest.ts'
import { packageRoot } from '../package.ts'
import { writeOwn } from '../write.ts'
import { detectApp, gitBranch, type ProjectFiles, sshAliases } from './detect.ts'
import { initFiles, withIgnored } from './files.ts'

export interface InitOptions {
  target: 'vps' | 'heroku'
  /** An ssh destination. */
  host?: string
  /** Also copy the templates, to change them. */
  templates?: boolean
}

/** How the commands are typed where they are: those of a package that only the project has, through npx. */
const typed = (command: string, io: Io): string =>
  io.env['npm_command'] === 'exec' ? command.replace(/(^|&& )(?=slipway |tasks )/g, '$1npx ') : command

export function initCommand(options: InitOptions, io: Io): number {
  const dir = io.cwd
  const project = projectFiles(dir)
  const app = detectApp(project)
  const branch = gitBranch(project)
  const aliases = sshAliases(textOf(join(io.env['HOME'] ?? homedir(), '.ssh', 'config')) ?? '')
  const placeholder = `deploy@${app.name}.example.org`
  const host = options.host ?? (aliases.length === 1 ? aliases[0]! : placeholder)
  const files = initFiles({ app, target: options.target, host, year: new Date().getFullYear() })
  if (options.templates) {
    const templates = join(packageRoot(), 'templates')
    for (const name of readdirSync(templates).filter((each) => each.endsWith('.eta'))) {
      files[`templates/${name}`] = readFileSync(join(templates, name), 'utf8')
    }
  }

  io.out(`Found ${app.framework} in ${basename(dir)}${branch === undefined ? '' : `, in git on ${branch}`}.\n\n`)
  for (const [file, text] of Object.entries(files)) {
    const there = file === 'tasks.ts' ? taskFileIn(dir) !== undefined : existsSync(join(dir, file))
    if (!there) {
      writeOwn(join(dir, file), text, 0o666)
    }
    io.out(`  ${there ? 'kept   ' : 'written'}  ${file}\n`)
  }
  const ignore = withIgnored(textOf(join(dir, '.gitignore')) ?? '')
  if (ignore !== undefined) writeOwn(join(dir, '.gitignore'), ignore, 0o666)
  io.out(`  ${ignore === undefined ? 'kept   ' : 'written'}  .gitignore\n`)
  const git =
    branch === undefined ? ['git init: versions are named after commits, and a deploy can be held to one.'] : []
  io.out(`\n${nextSteps(options, { host, placeholder, aliases, hints: [...app.hints, ...git] }, io)}`)
  return 0
}

function nextSteps(
  options: InitOptions,
  { host, placeholder, aliases, hints }: { host: string; placeholder: string; aliases: string[]; hints: string[] },
  io: Io,
): string {
  if (options.target === 'heroku') {
    return `Next:\n${hints.map((hint) => `  ${hint}\n`).join('')}  look at config/deploy.ini: the apps' names\n  ${typed('slipway doctor', io)}\n  ${typed('tasks deploy_staging', io)}\n`
  }
  const others = aliases.length > 1 ? ` (your ~/.ssh/config has ${aliases.slice(0, 5).join(', ')})` : ''
  return `Next:
${hints.map((hint) => `  ${hint}\n`).join('')}${host === placeholder ? `  look at config/deploy.ini: hosts and domains are placeholders${others}\n` : ''}  rehearse here:   ${typed('slipway sandbox up && tasks --sandbox init_staging start_app:release=staging', io)}
  check the host:  ${typed('slipway doctor', io)}
  for real:        ${typed('tasks init_staging start_app:release=staging', io)}
`
}

function projectFiles(dir: string): ProjectFiles {
  return {
    name: basename(dir),
    has: (path) => existsSync(join(dir, path)),
    read: (path) => textOf(join(dir, path)),
    names: readdirSync(dir),
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
