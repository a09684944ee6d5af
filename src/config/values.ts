/**
 * What kinds of values the configuration has, and how their text becomes them: valibot schemas from text. Valibot
 * is handed in, so that importing this costs nothing until a configuration is read.
 */
import { isIP } from 'node:net'
import type * as Valibot from 'valibot'
import type { DatabaseConfig } from './types.ts'

export type V = typeof Valibot
/** From the file's text to the value. */
export type TextSchema<T> = Valibot.GenericSchema<string, T>

const fromText = <T>(v: V, read: (text: string) => T | Complaint): TextSchema<T> =>
  v.pipe(
    v.string(),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const value = read(dataset.value)
      if (value instanceof Complaint) {
        addIssue({ message: value.message })
        return NEVER
      }
      return value
    }),
  ) as TextSchema<T>

class Complaint {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}
const complaint = (message: string): Complaint => new Complaint(message)

/** Any text that is not empty. */
export const text = (v: V): TextSchema<string> => v.pipe(v.string(), v.nonEmpty('is empty')) as TextSchema<string>

/** Words separated by commas or lines. */
export const list = (v: V): TextSchema<string[]> =>
  fromText(v, (value) =>
    value
      .split(/[,\n]/)
      .map((word) => word.trim())
      .filter((word) => word !== ''),
  )

/** Commands, one a line. */
export const commands = (v: V): TextSchema<string[]> =>
  fromText(v, (value) =>
    value
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== ''),
  )

/** A name that is safe as part of a file name. */
export const plainName = (v: V): TextSchema<string> =>
  fromText(v, (value) =>
    /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(value)
      ? value
      : complaint(`"${value}" may only have letters, digits, ".", "_" and "-", and starts with a letter or digit`),
  )

/** A path from the root, of characters that no configuration file reads as something else. */
export const absolutePath = (v: V): TextSchema<string> =>
  fromText(v, (value) => {
    if (!value.startsWith('/')) return complaint(`"${value}" must begin with "/"`)
    if (/[%;#"'\s]/.test(value)) return complaint(`"${value}" has a space, a quote, "%", ";" or "#" in it`)
    return value
  })

/** A path that stays below the folder it is relative to. */
export const innerPath = (v: V): TextSchema<string> => fromText(v, readInnerPath)

function readInnerPath(value: string): string | Complaint {
  if (value === '') return complaint('is empty')
  if (value.startsWith('/') || value.startsWith('~')) return complaint(`"${value}" must be a relative path`)
  if (value.split('/').includes('..')) return complaint(`"${value}" must not leave its folder with ".."`)
  return value.replace(/\/+$/, '').replace(/^\.\//, '')
}

export const innerPaths = (v: V): TextSchema<string[]> =>
  fromText(v, (value) => {
    const paths: string[] = []
    for (const word of value.split(/[,\n]/).map((each) => each.trim())) {
      if (word === '') continue
      const path = readInnerPath(word)
      if (path instanceof Complaint) return path
      paths.push(path)
    }
    return paths
  })

/** A domain name, lower case. */
export const domain = (v: V): TextSchema<string> =>
  fromText(v, (value) =>
    /^(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?(:\d+)?$/i.test(value)
      ? value.toLowerCase()
      : complaint(`"${value}" is not a domain name`),
  )

export const oneOf =
  <const T extends string>(...values: readonly T[]) =>
  (v: V): TextSchema<T> =>
    fromText(v, (value) =>
      (values as readonly string[]).includes(value)
        ? (value as T)
        : complaint(`"${value}" is not one of ${values.join(', ')}`),
    )

export const someOf =
  <const T extends string>(...values: readonly T[]) =>
  (v: V): TextSchema<T[]> =>
    fromText(v, (value) => {
      const words = value.split(/[,\n]/).map((each) => each.trim())
      const wrong = words.find((word) => !(values as readonly string[]).includes(word))
      return wrong === undefined ? (words as T[]) : complaint(`"${wrong}" is not one of ${values.join(', ')}`)
    })

export const count =
  (minimum: number, maximum = Number.MAX_SAFE_INTEGER) =>
  (v: V): TextSchema<number> =>
    fromText(v, (value) => {
      const number = Number(value)
      if (!/^\d+$/.test(value)) return complaint(`"${value}" is not a whole number`)
      if (number < minimum || number > maximum) return complaint(`${number} is not between ${minimum} and ${maximum}`)
      return number
    })

const unitsMs: Record<string, number> = { ms: 1, s: 1000, '': 1000, m: 60_000, min: 60_000, h: 3_600_000 }

/** `30`, `30s`, `2m`, `500ms`: in milliseconds; a bare number is seconds. */
export const durationMs = (v: V): TextSchema<number> =>
  fromText(v, (value) => {
    const match = /^(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|)$/.exec(value)
    const unit = match && unitsMs[match[2] as string]
    return match && unit ? Number(match[1]) * unit : complaint(`"${value}" is not a duration such as 30s, 2m or 1h`)
  })

export const durationSeconds = (v: V): TextSchema<number> =>
  fromText(v, (value) => {
    const ms = v.safeParse(durationMs(v), value)
    return ms.success ? Math.ceil(ms.output / 1000) : complaint(ms.issues[0].message)
  })

export const octalMode = (v: V): TextSchema<number> =>
  fromText(v, (value) =>
    /^0?[0-7]{3}$/.test(value) ? Number.parseInt(value, 8) : complaint(`"${value}" is not an octal mode such as 400`),
  )

/** `socket`, or `port 8001`. */
export const listen = (v: V): TextSchema<{ kind: 'socket' } | { kind: 'port'; port: number }> =>
  fromText(v, (value) => {
    if (value === 'socket') return { kind: 'socket' as const }
    const port = Number(/^port (\d+)$/.exec(value)?.[1])
    if (port > 0 && port < 65536) return { kind: 'port' as const, port }
    return complaint(`"${value}" is neither "socket" nor "port NUMBER"`)
  })

/** `django`, `alembic`, `none`, or two lines: `list: COMMAND` and `reverse: COMMAND`. */
export const migrations = (v: V): TextSchema<'django' | 'alembic' | 'none' | { list: string; reverse: string }> =>
  fromText(v, (value) => {
    if (value === 'django' || value === 'alembic' || value === 'none') return value
    const listing = /^list:\s*(.+)$/m.exec(value)?.[1]
    const reverse = /^reverse:\s*(.+)$/m.exec(value)?.[1]
    if (listing && reverse) return { list: listing.trim(), reverse: reverse.trim() }
    return complaint(`"${value}" is none of django, alembic, none, or two lines "list: …" and "reverse: …"`)
  })

/** `sqlite db/pony.sqlite`, `postgres pony`, `mysql pony host=db1 user=pony`; `queue` at the end marks a queue. */
export const database = (v: V): TextSchema<DatabaseConfig> =>
  fromText(v, (value): DatabaseConfig | Complaint => {
    const [kind, name, ...rest] = value.split(/\s+/)
    if (kind !== 'sqlite' && kind !== 'postgres' && kind !== 'mysql') {
      return complaint(`"${kind}" is not one of sqlite, postgres, mysql; write e.g. "sqlite db/app.sqlite"`)
    }
    if (name === undefined) return complaint(`${kind} needs ${kind === 'sqlite' ? 'a path' : 'a name'} after it`)
    const options = new Map<string, string>()
    let role: 'data' | 'queue' = 'data'
    for (const word of rest) {
      const [key, setting] = word.split('=', 2)
      if (word === 'data' || word === 'queue') role = word
      else if (kind !== 'sqlite' && setting && ['host', 'port', 'user'].includes(key as string)) {
        options.set(key as string, setting)
      } else
        return complaint(
          `"${word}" is not understood; after the ${kind} name come data or queue${kind === 'sqlite' ? '' : ', host=, port=, user='}`,
        )
    }
    if (kind === 'sqlite') {
      const path = readInnerPath(name.replace(/^shared\//, ''))
      return path instanceof Complaint ? path : { kind, path, role }
    }
    const port = options.get('port')
    if (port !== undefined && !/^\d+$/.test(port)) return complaint(`port "${port}" is not a number`)
    const [host, user] = [options.get('host'), options.get('user')]
    return {
      kind,
      database: name,
      role,
      ...(host ? { host } : {}),
      ...(user ? { user } : {}),
      ...(port ? { port: Number(port) } : {}),
    }
  })

const moment = String.raw`@(?:hourly|daily|weekly|monthly|yearly|reboot)|[\d*,/-]+(?:\s+[\w*,/-]+){4}`

/** `30 2 * * *`, or `@daily`. */
export const when = (v: V): TextSchema<string> =>
  fromText(v, (value) =>
    new RegExp(`^(?:${moment})$`).test(value) && value !== '@reboot'
      ? value.replace(/\s+/g, ' ')
      : complaint(`"${value}" is not "MINUTE HOUR DAY MONTH WEEKDAY" or "@daily"`),
  )

/** IP addresses and networks, separated by commas or lines. */
export const addresses = (v: V): TextSchema<string[]> =>
  fromText(v, (value) => {
    const words = value
      .split(/[,\n]/)
      .map((word) => word.trim())
      .filter((word) => word !== '')
    const wrong = words.find((word) => !isNetwork(word))
    return wrong === undefined
      ? words
      : complaint(`"${wrong}" is neither an address nor a network such as 192.0.2.0/24`)
  })

function isNetwork(word: string): boolean {
  const [address = '', bits, ...more] = word.split('/')
  const version = isIP(address)
  if (version === 0 || more.length > 0 || address.includes('%')) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}

/** `NAME`, or `NAME=VALUE`; the value is 1 unless given. */
export const variable = (v: V): TextSchema<{ name: string; value: string }> =>
  fromText(v, (value) => {
    const match = /^([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?$/s.exec(value)
    return match
      ? { name: match[1] as string, value: match[2] ?? '1' }
      : complaint(`"${value}" is neither NAME nor NAME=VALUE`)
  })

/** `15 3 * * * COMMAND`, or `@daily COMMAND`. */
export const scheduled = (v: V): TextSchema<{ when: string; command: string }> =>
  fromText(v, (value) => {
    const match = new RegExp(`^(${moment})\\s+(.+)$`, 's').exec(value)
    return match
      ? { when: match[1] as string, command: match[2] as string }
      : complaint(`"${value}" is not "MINUTE HOUR DAY MONTH WEEKDAY command" or "@daily command"`)
  })
