/** What app.json and heroku.yml say of an app: stack, buildpacks, add-ons, variables. config/deploy.ini goes before both. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from '../../events/errors.ts'
import type { HerokuContext } from './context.ts'

export interface Manifest {
  stack?: string
  buildpacks: string[]
  addons: { service: string; plan?: string; options: Record<string, string>; as?: string }[]
  env: Record<string, { value?: string; generate?: boolean }>
}

export async function readManifest(context: HerokuContext): Promise<Manifest> {
  const dir = join(context.config.dir, context.deployment.app.source)
  const read = (name: string): Promise<string | undefined> => readFile(join(dir, name), 'utf8').catch(() => undefined)
  const [json, yml] = await Promise.all([read('app.json'), read('heroku.yml')])
  const first = json === undefined ? empty() : fromAppJson(json)
  const second = yml === undefined ? empty() : fromHerokuYml(yml)
  return {
    ...(first.stack || second.stack ? { stack: first.stack ?? second.stack } : {}),
    buildpacks: first.buildpacks,
    addons: [...first.addons, ...second.addons],
    env: { ...second.env, ...first.env },
  }
}

const empty = (): Manifest => ({ buildpacks: [], addons: [], env: {} })
const addonOf = (plan: string): { service: string; plan?: string } => {
  const [service = '', name] = plan.split(':')
  return { service, ...(name ? { plan: name } : {}) }
}

export function fromAppJson(text: string): Manifest {
  let given: Record<string, unknown>
  try {
    given = JSON.parse(text) as Record<string, unknown>
  } catch (cause) {
    throw new UsageError(
      'bad-app-json',
      `app.json is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      { state: 'Nothing was changed.' },
    )
  }
  const list = <T>(value: unknown): T[] => (Array.isArray(value) ? (value as T[]) : [])
  const env: Manifest['env'] = {}
  for (const [name, value] of Object.entries((given['env'] ?? {}) as Record<string, unknown>)) {
    if (typeof value === 'string') env[name] = { value }
    else {
      const each = value as { value?: string; generator?: string; required?: boolean }
      if (each.value === undefined && each.generator === undefined && each.required === false) continue
      env[name] = {
        ...(each.value === undefined ? {} : { value: each.value }),
        ...(each.generator === 'secret' ? { generate: true } : {}),
      }
    }
  }
  return {
    ...(typeof given['stack'] === 'string' ? { stack: given['stack'] } : {}),
    buildpacks: list<{ url: string }>(given['buildpacks']).map((each) => each.url),
    addons: list<string | { plan: string; as?: string; options?: Record<string, string> }>(given['addons']).map(
      (each) =>
        typeof each === 'string'
          ? { ...addonOf(each), options: {} }
          : { ...addonOf(each.plan), options: each.options ?? {}, ...(each.as ? { as: each.as } : {}) },
    ),
    env,
  }
}

/** The `setup` section: indented maps and lists, which is all that heroku.yml has there. */
export function fromHerokuYml(text: string): Manifest {
  const manifest = empty()
  let section = ''
  let inSetup = false
  for (const line of text.split('\n')) {
    if (/^\s*(#.*)?$/.test(line)) continue
    const [, indent = '', rest = ''] = /^(\s*)(.*?)\s*$/.exec(line) ?? []
    if (indent === '') {
      inSetup = rest === 'setup:'
      if (rest === 'build:') manifest.stack = 'container'
      continue
    }
    if (!inSetup) continue
    if (/^(addons|config):$/.test(rest)) {
      section = rest.slice(0, -1)
      continue
    }
    const [, dash, name = '', value = ''] = /^(- )?([\w-]+):\s*(.*)$/.exec(rest) ?? []
    const plain = value.replace(/^(["'])(.*)\1$/, '$2')
    if (section === 'config') manifest.env[name] = { value: plain }
    else if (section === 'addons' && dash && name === 'plan') manifest.addons.push({ ...addonOf(plain), options: {} })
    else if (section === 'addons') {
      const last = manifest.addons.at(-1)
      if (!last) continue
      if (name === 'as') last.as = plain
      else if (name !== 'options' && name !== 'plan') last.options[name] = plain
    }
  }
  return manifest
}
