/** Doctor on this machine: tools and their versions, the task file, the configuration, secrets. Nothing connects. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { loadConfig, readDotenv } from '../../config/index.ts'
import type { Config } from '../../config/types.ts'
import { asSlipwayError } from '../../events/foreign.ts'
import { loadTaskFile } from '../load.ts'
import { nearestTaskFile } from '../nearest.ts'
import { packageVersion } from '../package.ts'
import { bad, type Finding, fromError, ok } from './finding.ts'
import { ownSecrets, settingFindings } from './settings.ts'

const exec = promisify(execFile)

interface Tool {
  name: string
  args: string[]
  version: RegExp
  least?: [number, number]
  /** What is missing without it. */
  for: string
  fix: string
  required: boolean
}

const tools: readonly Tool[] = [
  {
    name: 'ssh',
    args: ['-V'],
    version: /OpenSSH_(\d+)\.(\d+)/,
    least: [7, 3],
    for: 'your ssh configuration is read with it',
    fix: 'apt install openssh-client',
    required: true,
  },
  {
    name: 'rsync',
    args: ['--version'],
    version: /version (\d+)\.(\d+)/,
    least: [3, 1],
    for: 'uploads go with it',
    fix: 'apt install rsync',
    required: true,
  },
  {
    name: 'git',
    args: ['--version'],
    version: /(\d+)\.(\d+)/,
    for: 'versions are named after commits',
    fix: 'apt install git',
    required: false,
  },
]

export async function toolFindings(): Promise<Finding[]> {
  const here = 'this machine'
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const node = major > 20 || (major === 20 && minor >= 19)
  const findings = [
    node
      ? ok(here, `Node ${process.versions.node}, Slipway ${packageVersion()}`)
      : bad(here, 'failure', `Node ${process.versions.node} is too old`, 'Install Node 20.19 or later.'),
  ]
  return [...findings, ...(await Promise.all(tools.map((tool) => toolFinding(here, tool))))]
}

async function toolFinding(area: string, tool: Tool): Promise<Finding> {
  const state = tool.required ? 'failure' : 'warning'
  try {
    const { stdout, stderr } = await exec(tool.name, tool.args)
    const [text, major, minor] = tool.version.exec(stdout + stderr) ?? []
    const found = [Number(major), Number(minor)] as const
    if (tool.least && text && (found[0] < tool.least[0] || (found[0] === tool.least[0] && found[1] < tool.least[1]))) {
      return bad(area, state, `${tool.name} ${found.join('.')} is too old: at least ${tool.least.join('.')}`, tool.fix)
    }
    return ok(area, `${tool.name}${major ? ` ${found.join('.')}` : ''}`)
  } catch {
    return bad(area, state, `${tool.name} is missing: ${tool.for}`, tool.fix)
  }
}

export async function projectFindings(dir: string): Promise<{ findings: Finding[]; config?: Config }> {
  const findings: Finding[] = []
  const file = nearestTaskFile(dir)
  if (file === undefined)
    findings.push(bad('project', 'failure', `there is no task file in ${dir} or above it`, 'slipway init'))
  else {
    try {
      const { tasks } = await loadTaskFile(file)
      findings.push(ok('project', `${file}: ${tasks.size} tasks`))
    } catch (error) {
      findings.push(fromError('project', error))
    }
  }
  try {
    const config = loadConfig(dir)
    findings.push(ok('project', `config/deploy.ini: ${Object.keys(config.deployments).join(', ')}`))
    return { findings: [...findings, ...settingFindings(dir, config), ...secretFindings(dir, config)], config }
  } catch (error) {
    const known = asSlipwayError(error)
    findings.push(
      known.code === 'no-config'
        ? bad('project', 'warning', 'there is no config/deploy.ini', 'slipway init')
        : fromError('project', error),
    )
    return { findings }
  }
}

/** Secrets that are referred to and nowhere to be found; and set, but never referred to. */
export function secretFindings(dir: string, config: Pick<Config, 'secretCommands'>): Finding[] {
  const area = 'secrets'
  const used = usedSecrets(dir)
  const there = readDotenv(dir)
  const findings = [...used].flatMap(([name, place]): Finding[] => {
    if (there[name] || process.env[name]) return []
    if (config.secretCommands?.[name] !== undefined) return []
    return [
      bad(
        area,
        'failure',
        `${place} needs the secret ${name}, which is nowhere to be found`,
        `Put ${name}=… into .env, or a command for it under [secret_commands].`,
      ),
    ]
  })
  const env = join(dir, '.env')
  if (existsSync(env)) {
    if (statSync(env).mode & 0o077)
      findings.push(bad(area, 'warning', '.env can be read by other users of this machine', 'chmod 600 .env'))
    if (existsSync(join(dir, '.git')) && !ignores(dir, '.env'))
      findings.push(bad(area, 'failure', '.env is not ignored by git', 'echo .env >> .gitignore'))
    const lines = readFileSync(env, 'utf8').split('\n')
    for (const name of Object.keys(there)) {
      if (used.has(name) || ownSecrets.test(name)) continue
      const line = lines.findIndex((text) => new RegExp(`^\\s*(export\\s+)?${name}\\s*=`).test(text)) + 1
      findings.push(
        bad(
          area,
          'warning',
          `.env:${line}: nothing in config/ or the task file refers to ${name}`,
          'Remove it, unless a module of your task file reads it with secret().',
        ),
      )
    }
  }
  const found = [...used.keys()].filter((name) => !findings.some(({ text }) => text.includes(` ${name},`)))
  return [...(found.length > 0 ? [ok(area, `found: ${found.join(', ')}`)] : []), ...findings]
}

/** Name → the first place that refers to it: in config/, or by `secret('NAME')` in the task file. */
function usedSecrets(dir: string): Map<string, string> {
  const used = new Map<string, string>()
  const taskFile = nearestTaskFile(dir)
  if (taskFile !== undefined) {
    readFileSync(taskFile, 'utf8')
      .split('\n')
      .forEach((text, index) => {
        if (/^\s*(\/\/|\*)/.test(text)) return
        for (const [, name] of text.matchAll(/\bsecret\(\s*['"`]([A-Za-z_]\w*)['"`]/g)) {
          if (name && !used.has(name)) used.set(name, `${basename(taskFile)}:${index + 1}`)
        }
      })
  }
  const folder = join(dir, 'config')
  for (const file of existsSync(folder)
    ? readdirSync(folder).filter((name) => statSync(join(folder, name)).isFile())
    : []) {
    readFileSync(join(folder, file), 'utf8')
      .split('\n')
      .forEach((text, index) => {
        if (/^\s*[;#]/.test(text)) return
        for (const [, name] of text.matchAll(/\bsecret:([A-Za-z_]\w*)/g)) {
          if (name && !used.has(name)) used.set(name, `config/${file}:${index + 1}`)
        }
      })
  }
  return used
}

function ignores(dir: string, name: string): boolean {
  const text = existsSync(join(dir, '.gitignore')) ? readFileSync(join(dir, '.gitignore'), 'utf8') : ''
  return text.split('\n').some((line) => line.trim().replace(/^\//, '') === name)
}
