/** A settings file as names and values, and one value of it changed with every other byte kept. Pure. */
import { createRequire } from 'node:module'
import { setIniValue } from '../../config/edit.ts'

export type SettingsFormat = 'ini' | 'env'

/** By the file's name: `staging.ini` has sections, `.env.staging` and `staging.env` have lines NAME=value. */
export const formatOf = (file: string): SettingsFormat => (/\.env|(^|\/)env/.test(file) ? 'env' : 'ini')

/** Values by name; in an ini file the name is `section.key`. */
export function parseSettings(text: string, format: SettingsFormat): Record<string, string> {
  const require = createRequire(import.meta.url)
  if (format === 'env') return (require('dotenv') as typeof import('dotenv')).parse(text)
  const found: Record<string, string> = {}
  let section = ''
  let last: string | undefined
  for (const line of text.split('\n')) {
    const header = /^\[([^\]]+)\]\s*$/.exec(line)
    const pair = /^([^\s=:;#[][^=:]*?)\s*[=:]\s*(.*)$/.exec(line)
    if (header) [section, last] = [header[1] as string, undefined]
    else if (/^\s+\S/.test(line) && last) found[last] += `\n${line.trim()}`
    else if (pair) {
      last = section === '' ? (pair[1] as string) : `${section}.${pair[1]}`
      found[last] = (pair[2] as string).trimEnd()
    }
  }
  return found
}

/** `text` with `name` set to `value`, or removed where it is null. */
export function setSetting(text: string, format: SettingsFormat, name: string, value: string | null): string {
  return format === 'env' ? setEnv(text, name, value) : setIni(text, name, value)
}

function setIni(text: string, name: string, value: string | null): string {
  const dot = name.indexOf('.')
  const [section, key] = dot < 0 ? ['', name] : [name.slice(0, dot), name.slice(dot + 1)]
  if (value === null) {
    let here = ''
    return text
      .split('\n')
      .filter((line) => {
        here = /^\[([^\]]+)\]/.exec(line)?.[1] ?? here
        return !(here === section && line.split(/[=:]/)[0]?.trim() === key)
      })
      .join('\n')
  }
  // Lines after the first are indented: that is how an ini file goes on.
  const written = value.replaceAll('\n', '\n  ')
  const wanted = new RegExp(`^\\[${section.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}\\]`, 'm')
  const base = wanted.test(text) ? text : `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}[${section}]\n`
  return setIniValue(setIni(base, name, null), section, key, written)
}

function setEnv(text: string, name: string, value: string | null): string {
  const entry = new RegExp(`^(?:export\\s+)?${name}=(?:"(?:[^"\\\\]|\\\\.)*"|'[^']*'|\`[^\`]*\`|.*)$\\n?`, 'ms')
  const line = value === null ? '' : `${name}=${envQuoted(value)}\n`
  const single = new RegExp(`^(?:export\\s+)?${name}=(?:"(?:[^"\\\\]|\\\\.)*"|'[^']*'|[^\\n]*)\\n?`, 'm')
  if (single.test(text)) return text.replace(single, () => line)
  return entry.test(text) ? text : `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${line}`
}

/** In the quotes that keep every byte for dotenv. */
function envQuoted(value: string): string {
  if (/^[\w./:@+-]*$/.test(value)) return value
  if (!value.includes("'")) return `'${value}'`
  if (!value.includes('`')) return `\`${value}\``
  return `"${value.replaceAll('"', '\\"')}"`
}
