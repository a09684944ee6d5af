/** How the databases of a deployment are, and its backups by themselves: one round trip, and no failure of one hides another. */
import { randomBytes } from 'node:crypto'
import { SlipwayError } from '../../../events/index.ts'
import type { ScriptStep, StepResult } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { DeploymentStatus } from '../../deployment.ts'
import type { VpsContext } from '../context.ts'
import type { AppLayout, ReleaseLayout } from '../layout.ts'
import { explain, type Known } from './engine-errors.ts'
import { readFacts } from './engine-run.ts'
import { knownErrors } from './engines.ts'
import { databaseHost, sqliteFiles } from './index.ts'
import { backupNote } from './scheduled.ts'
import { sizes } from './sqlite.ts'

type State = DeploymentStatus['databases'][number]

export interface DataState {
  databases: State[]
  /** Of backups that the host makes by itself. */
  warning?: string
}

export async function dataState(context: VpsContext, release: ReleaseLayout, app: AppLayout): Promise<DataState> {
  const {
    name: deployment,
    app: { databases },
    backups,
  } = context.deployment
  const host = databaseHost(context)
  const files = sqliteFiles(context, release)
  const { steps, read } = await serverSteps(context)
  const all: ScriptStep[] = [
    ...(files.length > 0 ? [{ name: 'size of files', command: sizes(files.map((file) => file.path)) }] : []),
    ...(backups === undefined
      ? []
      : [{ name: 'backups', command: sh`cat ${backupNote(app, deployment)} 2>/dev/null || :` }]),
    ...steps,
  ].map((step) => ({ ...step, nothrow: true }))
  if (all.length === 0) return { databases: [] }
  // A script, because it travels on standard input: a password may be part of it.
  const results = await host.script(all, { kind: 'probe', quiet: true })
  const answer = (step: string): StepResult | undefined => results.find((each) => each.name === step)
  const ofFiles = JSON.parse(answer('size of files')?.stdout.trim().split('\n').pop() || '{}') as Record<string, number>
  return {
    databases: Object.keys(databases).map((name): State => {
      const file = files.find((each) => each.name === name)
      if (!file) return read(name, host.name, answer(`look at ${name}`))
      const bytes = ofFiles[file.path] ?? 0
      return bytes > 0 ? { name, bytes, ok: true } : { name, ok: false, detail: 'it is not there: init_db makes it' }
    }),
    ...(answer('backups')?.stdout.trim() ? { warning: readNote(answer('backups')?.stdout ?? '') } : {}),
  }
}

/** What a scheduled backup left of itself, as a sentence. Pure. */
function readNote(note: string): string {
  const [first = '', ...said] = note.trim().split('\n')
  const [state, at, ...step] = first.split(' ')
  if (state !== 'failed') return `the backup that the host began at ${at} has not ended`
  const why = said.filter(Boolean).join(' ')
  return `the host's own backup of ${at} failed: ${step.join(' ')}${why ? `: ${why}` : ''}`
}

/** Steps that ask the servers, and what reads their answers. Nothing is loaded where all is SQLite. */
async function serverSteps(
  context: VpsContext,
): Promise<{ steps: ScriptStep[]; read(name: string, host: string, answer: StepResult | undefined): State }> {
  const configured = Object.entries(context.deployment.app.databases)
  const steps: ScriptStep[] = []
  const servers = new Map<string, import('./servers.ts').ServerDatabase>()
  const failures = new Map<string, string>()
  for (const [name, config] of configured) {
    if (config.kind === 'sqlite') continue
    const { serverDatabase, withPasswordFile } = await import('./servers.ts')
    try {
      // A password for this one look alone: who only looks leaves nothing.
      const folder = `/tmp/slipway-look-${randomBytes(8).toString('hex')}`
      const database = await serverDatabase(context.config, name, config, folder)
      servers.set(name, database)
      const command = withPasswordFile(database, database.engine.commands.inspect(database.at))
      steps.push({ name: `look at ${name}`, command })
    } catch (error) {
      // A secret that is not here must not hide all the rest.
      if (!(error instanceof SlipwayError)) throw error
      failures.set(name, error.message)
    }
  }
  const known = new Map<string, readonly Known[]>()
  for (const { at } of servers.values()) known.set(at.kind, await knownErrors(at.kind))
  return {
    steps,
    read(name, host, answer) {
      const server = servers.get(name)
      if (server === undefined) return { name, ok: false, detail: failures.get(name) }
      if (answer?.exitCode === 0) {
        const facts = readFacts(answer.stdout)
        if (!facts.exists) return { name, ok: false, detail: `there is no ${server.at.database} on its server` }
        if (!facts.accepts) return { name, bytes: facts.bytes, ok: false, detail: 'it refuses connections' }
        return { name, bytes: facts.bytes, ok: true }
      }
      const attempt = { what: `look at ${name}`, host, at: server.at, state: '' }
      return {
        name,
        ok: false,
        detail: explain(attempt, answer?.stderr ?? '', answer?.exitCode ?? null, known.get(server.at.kind) ?? [])
          .message,
      }
    },
  }
}
