/** The platform's resources, narrowed to what is used. A reply that lacks one of these fields is an error. */
import * as v from 'valibot'
import type { Parser } from './client.ts'

const parser = <S extends v.GenericSchema>(schema: S): Parser<v.InferOutput<S>> => {
  return (reply) => v.parse(schema, reply)
}

const reference = v.object({ id: v.string() })
const named = v.object({ id: v.string(), name: v.string() })

const appSchema = v.object({
  id: v.string(),
  name: v.string(),
  maintenance: v.boolean(),
  region: named,
  stack: named,
  build_stack: named,
  team: v.nullish(named),
  owner: v.object({ email: v.string() }),
  web_url: v.nullish(v.string()),
  git_url: v.string(),
  slug_size: v.nullish(v.number()),
  repo_size: v.nullish(v.number()),
  acm: v.optional(v.boolean(), false),
})
export type App = v.InferOutput<typeof appSchema>
export const app = parser(appSchema)

const buildSchema = v.object({
  id: v.string(),
  status: v.picklist(['pending', 'succeeded', 'failed']),
  output_stream_url: v.nullish(v.string()),
  release: v.nullish(reference),
  source_blob: v.object({ url: v.string(), version: v.nullish(v.string()), checksum: v.nullish(v.string()) }),
  created_at: v.string(),
})
export type Build = v.InferOutput<typeof buildSchema>
export const build = parser(buildSchema)

const releaseSchema = v.object({
  id: v.string(),
  version: v.number(),
  status: v.picklist(['pending', 'succeeded', 'failed', 'expired']),
  current: v.optional(v.boolean(), false),
  description: v.nullish(v.string(), ''),
  output_stream_url: v.nullish(v.string()),
  slug: v.nullish(reference),
  eligible_for_rollback: v.optional(v.boolean(), true),
  created_at: v.string(),
  user: v.object({ email: v.string() }),
})
export type Release = v.InferOutput<typeof releaseSchema>
export const release = parser(releaseSchema)

const slugSchema = v.object({
  id: v.string(),
  commit: v.nullish(v.string()),
  process_types: v.record(v.string(), v.string()),
})
export const slug = parser(slugSchema)

const dynoSchema = v.object({
  id: v.string(),
  name: v.string(),
  type: v.string(),
  command: v.string(),
  state: v.string(),
  size: v.string(),
  attach_url: v.nullish(v.string()),
  release: v.object({ id: v.string(), version: v.number() }),
  created_at: v.string(),
  updated_at: v.string(),
})
export type Dyno = v.InferOutput<typeof dynoSchema>
export const dyno = parser(dynoSchema)

const formationSchema = v.object({
  type: v.string(),
  quantity: v.number(),
  size: v.nullish(v.string(), ''),
  command: v.string(),
})
export type Formation = v.InferOutput<typeof formationSchema>
export const formation = parser(formationSchema)
export const formations: Parser<Formation[]> = parser(v.array(formationSchema))

const addonSchema = v.object({
  id: v.string(),
  name: v.string(),
  state: v.string(),
  plan: named,
  addon_service: named,
  app: named,
  config_vars: v.array(v.string()),
  web_url: v.nullish(v.string()),
  provision_message: v.nullish(v.string()),
})
export type Addon = v.InferOutput<typeof addonSchema>
export const addon = parser(addonSchema)

const attachmentSchema = v.object({
  id: v.string(),
  name: v.string(),
  app: named,
  addon: v.object({
    id: v.string(),
    name: v.string(),
    app: named,
    plan: v.optional(v.object({ name: v.string() })),
  }),
})
export type Attachment = v.InferOutput<typeof attachmentSchema>
export const attachment = parser(attachmentSchema)

const dynoSizeSchema = v.object({ name: v.string() })
export const dynoSize = parser(dynoSizeSchema)

const planSchema = v.object({ name: v.string(), description: v.nullish(v.string()), state: v.string() })
export const plan = parser(planSchema)

const domainSchema = v.object({
  id: v.string(),
  hostname: v.string(),
  kind: v.picklist(['heroku', 'custom']),
  cname: v.nullish(v.string()),
  status: v.string(),
  acm_status: v.nullish(v.string()),
  acm_status_reason: v.nullish(v.string()),
})
export type Domain = v.InferOutput<typeof domainSchema>
export const domain = parser(domainSchema)

const sniSchema = v.object({ id: v.string(), name: v.string(), certificate_chain: v.string() })
export const sni = parser(sniSchema)

export const featureSchema = v.object({ name: v.string(), enabled: v.boolean() })
export type Feature = v.InferOutput<typeof featureSchema>
export const feature = parser(featureSchema)

const buildpackSchema = v.object({ ordinal: v.number(), buildpack: v.object({ url: v.string(), name: v.string() }) })
export const buildpack = parser(buildpackSchema)

const pipelineSchema = v.object({ id: v.string(), name: v.string() })
export const pipeline = parser(pipelineSchema)

const couplingSchema = v.object({ id: v.string(), app: reference, pipeline: reference, stage: v.string() })
export type Coupling = v.InferOutput<typeof couplingSchema>
export const coupling = parser(couplingSchema)

const promotionSchema = v.object({ id: v.string(), status: v.string() })
export const promotion = parser(promotionSchema)

const promotionTargetSchema = v.object({
  app: reference,
  release: v.nullish(reference),
  status: v.picklist(['pending', 'succeeded', 'failed']),
  error_message: v.nullish(v.string()),
})
export type PromotionTarget = v.InferOutput<typeof promotionTargetSchema>
export const promotionTarget = parser(promotionTargetSchema)

const logSessionSchema = v.object({ id: v.string(), logplex_url: v.string() })
export const logSession = parser(logSessionSchema)

const sourceSchema = v.object({ source_blob: v.object({ get_url: v.string(), put_url: v.string() }) })
export const source = parser(sourceSchema)

const accountSchema = v.object({ id: v.string(), email: v.string() })
export const account = parser(accountSchema)

/** What each of these takes of a reply, before its defaults: held to the platform's published types by a test. */
export interface Taken {
  Account: v.InferInput<typeof accountSchema>
  AddOn: v.InferInput<typeof addonSchema>
  AddOnAttachment: v.InferInput<typeof attachmentSchema>
  App: v.InferInput<typeof appSchema>
  AppFeature: v.InferInput<typeof featureSchema>
  Build: v.InferInput<typeof buildSchema>
  BuildpackInstallations: v.InferInput<typeof buildpackSchema>
  Domain: v.InferInput<typeof domainSchema>
  Dyno: v.InferInput<typeof dynoSchema>
  DynoSize: v.InferInput<typeof dynoSizeSchema>
  Formation: v.InferInput<typeof formationSchema>
  LogSession: v.InferInput<typeof logSessionSchema>
  Pipeline: v.InferInput<typeof pipelineSchema>
  PipelineCoupling: v.InferInput<typeof couplingSchema>
  PipelinePromotion: v.InferInput<typeof promotionSchema>
  PipelinePromotionTarget: v.InferInput<typeof promotionTargetSchema>
  Plan: v.InferInput<typeof planSchema>
  Release: v.InferInput<typeof releaseSchema>
  Slug: v.InferInput<typeof slugSchema>
  SNIEndpoint: v.InferInput<typeof sniSchema>
  Source: v.InferInput<typeof sourceSchema>
}

export const configVars: Parser<Record<string, string>> = (reply) => {
  const all = v.parse(v.record(v.string(), v.nullable(v.string())), reply)
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null))
}
export const anything: Parser<unknown> = (reply) => reply

// The data API has no schema: these are the fields that its clients rely on.
const transferSchema = v.object({
  uuid: v.string(),
  num: v.number(),
  from_name: v.nullish(v.string(), ''),
  from_type: v.string(),
  to_name: v.nullish(v.string(), ''),
  to_type: v.string(),
  succeeded: v.nullish(v.boolean()),
  warnings: v.nullish(v.number(), 0),
  created_at: v.string(),
  finished_at: v.nullish(v.string()),
  canceled_at: v.nullish(v.string()),
  processed_bytes: v.nullish(v.number(), 0),
  source_bytes: v.nullish(v.number(), 0),
  schedule: v.nullish(v.object({ uuid: v.string() })),
  logs: v.optional(v.array(v.object({ created_at: v.nullish(v.string()), message: v.string() })), []),
})
export type Transfer = v.InferOutput<typeof transferSchema>
export const transfer = parser(transferSchema)

const scheduleSchema = v.object({ uuid: v.string(), name: v.string(), hour: v.number(), timezone: v.string() })
export type BackupSchedule = v.InferOutput<typeof scheduleSchema>
export const backupSchedule = parser(scheduleSchema)

export const databaseInfo = parser(
  v.object({
    plan: v.optional(v.string()),
    num_bytes: v.optional(v.number()),
    num_tables: v.optional(v.number()),
    info: v.optional(v.array(v.object({ name: v.string(), values: v.array(v.string()) })), []),
  }),
)
export const waitStatus = parser(
  v.object({ 'waiting?': v.boolean(), 'error?': v.optional(v.boolean(), false), message: v.nullish(v.string(), '') }),
)
export const publicUrl = parser(v.object({ url: v.string() }))

/** Without passwords: they are not even read. */
const credentialSchema = v.object({
  name: v.string(),
  state: v.string(),
  credentials: v.optional(v.array(v.object({ user: v.string() })), []),
})
export const credential = parser(credentialSchema)
