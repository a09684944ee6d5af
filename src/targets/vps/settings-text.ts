/**
 * The app's own settings as text: `{{ … }}` in the file of config/ is filled in, every other byte stays. Pure.
 *   {{ shared }}               the shared folder; also app, deployment, release, release_dir, logs, domain, port
 *   {{ secret:NAME }}          a secret
 *   {{ generate:NAME }}        a random value made once for this deployment and kept on its host
 *   {{ value | suffix:TEXT }}  derived: the value with TEXT after it; also prefix, urlencode, base64, json
 */
import { UsageError } from '../../events/errors.ts'

export interface SettingsFacts {
  /** shared, app, release … */
  values: Readonly<Record<string, string | undefined>>
  secret(name: string): string
  generated(name: string): string
}

interface Placeholder {
  text: string
  source: 'value' | 'secret' | 'generate'
  name: string
  filters: { name: string; argument?: string }[]
  line: number
}

const pattern = /\{\{([^{}\n]+)\}\}/g

/** The placeholders of a settings file. Throws a UsageError for one that is malformed, with its place. */
export function placeholders(template: string, file: string): Placeholder[] {
  return [...template.matchAll(pattern)].map((match) => {
    const line = template.slice(0, match.index).split('\n').length
    const [head, ...filters] = (match[1] as string).split('|').map((part) => part.trim()) as [string, ...string[]]
    const named = /^(?:(secret|generate):)?([A-Za-z_][A-Za-z0-9_]*)$/.exec(head)
    if (!named)
      throw new UsageError('settings', `${file}:${line}: "${match[0]}" is not understood`, { next: settingsHelp })
    return {
      text: match[0],
      source: (named[1] as 'secret' | 'generate' | undefined) ?? 'value',
      name: named[2] as string,
      filters: filters.map((filter) => {
        const [name, ...argument] = filter.split(':') as [string, ...string[]]
        if (!(name in filterFunctions)) {
          throw new UsageError('settings', `${file}:${line}: there is no filter "${name}"`, { next: settingsHelp })
        }
        return { name, argument: argument.length > 0 ? argument.join(':') : undefined }
      }),
      line,
    }
  })
}

const settingsHelp =
  'Placeholders are {{ shared }}, {{ secret:NAME }}, {{ generate:NAME }}, with | suffix:TEXT and others.'

const filterFunctions: Record<string, (value: string, argument: string) => string> = {
  suffix: (value, argument) => value + argument,
  prefix: (value, argument) => argument + value,
  urlencode: (value) => encodeURIComponent(value),
  base64: (value) => Buffer.from(value).toString('base64'),
  json: (value) => JSON.stringify(value),
}

/** The settings with every placeholder filled in. */
export function fillSettings(template: string, file: string, facts: SettingsFacts): string {
  const found = placeholders(template, file)
  let index = 0
  return template.replaceAll(pattern, () => {
    const placeholder = found[index++] as Placeholder
    const value = lookUp(placeholder, file, facts)
    return placeholder.filters.reduce(
      (text, filter) => (filterFunctions[filter.name] as (v: string, a: string) => string)(text, filter.argument ?? ''),
      value,
    )
  })
}

function lookUp(placeholder: Placeholder, file: string, facts: SettingsFacts): string {
  if (placeholder.source === 'secret') return facts.secret(placeholder.name)
  if (placeholder.source === 'generate') return facts.generated(placeholder.name)
  const value = facts.values[placeholder.name]
  if (value !== undefined) return value
  const known = Object.keys(facts.values).filter((name) => facts.values[name] !== undefined)
  throw new UsageError('settings', `${file}:${placeholder.line}: {{ ${placeholder.name} }} is not known`, {
    next: `There are ${known.join(', ')}; secrets are {{ secret:NAME }}.`,
  })
}
