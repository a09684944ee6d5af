/** The platform's published schema, where it is at hand: what of the emulator's replies is not what it says. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Ajv04 from 'ajv-draft-04'
import formats from 'ajv-formats'
import type { HerokuEmulator } from '../../emulators/heroku/emulator.ts'

const file = join(import.meta.dirname, '../../../../shared/heroku/schema.json')
export const schemaAtHand = existsSync(file)
if (!schemaAtHand) console.log(`skipped: the platform's schema is not at ${file}`)

// Both are CommonJS: under ESM their types have the class behind `default`.
const Ajv = Ajv04 as unknown as typeof Ajv04.default
const addFormats = formats as unknown as typeof formats.default

type Json = Record<string, unknown>

/** Takes out what ajv can't compile: examples with ids, and keywords of hyper-schema. */
function plain(value: unknown, names = false): unknown {
  if (Array.isArray(value)) return value.map((each) => plain(each))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value as Json)
      .filter(
        ([key, each]) =>
          names ||
          !(['example', '$schema', 'identity', 'links'].includes(key) || (key === 'id' && typeof each === 'string')),
      )
      .map(([key, each]) => [key, plain(each, !names && (key === 'properties' || key === 'definitions'))]),
  )
}

/** What differs, each once, and the calls whose replies were looked at. None where the schema is not at hand. */
export function checkReplies({ seen }: Pick<HerokuEmulator, 'seen'>): { complaints: string[]; checked: string[] } {
  const complaints = new Set<string>()
  const checked = new Set<string>()
  if (!schemaAtHand) return { complaints: [], checked: [] }
  const schema = JSON.parse(readFileSync(file, 'utf8')) as {
    definitions: Record<string, Json & { links?: { method: string; href: string; targetSchema?: Json }[] }>
  }
  const ajv = new Ajv({ strict: false, unicodeRegExp: false, allErrors: true })
  addFormats(ajv as never)
  const definitions = plain(schema.definitions, true) as Record<string, Json>
  // A reference that points nowhere in the published file.
  const root = { id: 'heroku', definitions: { ...definitions, dyno_size: { type: ['string', 'object'] } } }
  ajv.addSchema(root, 'heroku')
  const links = Object.entries(schema.definitions).flatMap(([name, definition]) =>
    (definition.links ?? []).map((link) => ({
      method: link.method,
      pattern: new RegExp(`^${link.href.replace(/\{[^}]*\}/g, '[^/]+')}$`),
      literal: link.href.replace(/\{[^}]*\}/g, '').length,
      target: link.targetSchema ?? { $ref: `#/definitions/${name}` },
    })),
  )
  const validators = new Map<string, ReturnType<typeof ajv.compile>>()
  for (const call of seen) {
    if (call.status >= 300 || call.reply === undefined) continue
    const matching = links
      .filter((link) => link.method === call.method && link.pattern.test(call.path))
      .sort((a, b) => b.literal - a.literal)
    const link = matching[0]
    if (!link) continue
    const target = JSON.parse(JSON.stringify(plain(link.target)).replaceAll('"#/', '"heroku#/')) as Json
    const list = Array.isArray(call.reply) && target['$ref'] !== undefined
    const wanted = list ? { type: 'array', items: target } : target
    const key = JSON.stringify(wanted)
    const validate = validators.get(key) ?? ajv.compile(wanted)
    validators.set(key, validate)
    checked.add(`${call.method} ${call.template}`)
    if (!validate(call.reply)) {
      for (const error of validate.errors ?? []) {
        if (/web_url$/.test(error.instancePath) && error.keyword === 'pattern') continue
        // What the caller had included is beyond the schema.
        if (error.keyword === 'additionalProperties' && call.headers['accept-inclusion'] !== undefined) continue
        // A hostname is not a URI, whatever the schema calls it.
        if (/hostname$/.test(error.instancePath) && error.keyword === 'format') continue
        complaints.add(`${call.method} ${call.template}${error.instancePath}: ${error.message}`)
      }
    }
  }
  return { complaints: [...complaints], checked: [...checked] }
}
