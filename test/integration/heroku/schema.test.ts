/** What the emulator answers is what the platform's published schema says, where the schema is at hand. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Ajv04 from 'ajv-draft-04'
import formats from 'ajv-formats'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeApps, type Stage, setStage } from './stage.ts'

const file = join(import.meta.dirname, '../../../../shared/heroku/schema.json')
const present = existsSync(file)
if (!present) console.log(`skipped: the platform's schema is not at ${file}`)

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

let stage: Stage
beforeAll(async () => {
  if (!present) return
  stage = await setStage()
  await makeApps(stage.heroku)
  await stage.run(() => stage.staging.deploy())
}, 90_000)
afterAll(() => stage?.close())

test.skipIf(!present)(
  'every reply validates, but for the address of the routers',
  async () => {
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
        rel: link as unknown as { rel: string },
      })),
    )
    await stage.run(async () => {
      await stage.staging.status()
      await stage.staging.settings.set({ A: 'b' })
      await stage.staging.workers.scale({ worker: 1 })
      await stage.staging.run(['true'])
      await stage.staging.domains.attach('pony.example.org')
      await stage.staging.rollback({ to: 'v4' }).catch(() => undefined)
      for await (const _ of stage.staging.logs({ lines: 1 })) break
    })
    const { promoteHeroku } = await import('../../../src/targets/heroku/index.ts')
    await stage.run(() =>
      promoteHeroku(stage.staging, stage.production, {
        setup: { config: stage.config, env: { ...stage.heroku.env, HOME: stage.dir, PATH: process.env['PATH'] } },
      }),
    )
    const { api } = await import('./stage.ts')
    for (const path of [
      '/account',
      '/account/rate-limits',
      '/apps',
      '/stacks',
      '/regions',
      '/teams',
      '/addon-services',
      '/addon-services/heroku-postgresql/plans',
      '/pipelines',
      '/addons',
      '/addon-attachments',
      '/apps/pony-staging/available-dyno-sizes',
      '/apps/pony-staging/features',
      '/apps/pony-staging/collaborators',
      '/apps/pony-staging/buildpack-installations',
      '/apps/pony-staging/builds',
      '/apps/pony-staging/sni-endpoints',
    ])
      await api(stage.heroku, 'GET', path)
    const complaints: string[] = []
    const checked = new Set<string>()
    for (const call of stage.heroku.seen) {
      if (call.status >= 300 || call.reply === undefined) continue
      const matching = links
        .filter((link) => link.method === call.method && link.pattern.test(call.path))
        .sort((a, b) => b.literal - a.literal)
      const link = matching[0]
      if (!link) continue
      const target = JSON.parse(JSON.stringify(plain(link.target)).replaceAll('"#/', '"heroku#/')) as Json
      const list = Array.isArray(call.reply) && target['$ref'] !== undefined
      const validate = ajv.compile(list ? { type: 'array', items: target } : target)
      checked.add(`${call.method} ${call.template}`)
      if (!validate(call.reply)) {
        for (const error of validate.errors ?? []) {
          if (/web_url$/.test(error.instancePath) && error.keyword === 'pattern') continue
          // A hostname is not a URI, whatever the schema calls it.
          if (/hostname$/.test(error.instancePath) && error.keyword === 'format') continue
          complaints.push(`${call.method} ${call.template}${error.instancePath}: ${error.message}`)
        }
      }
    }
    expect([...new Set(complaints)]).toEqual([])
    expect(checked.size).toBeGreaterThan(35)
  },
  120_000,
)
