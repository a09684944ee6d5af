/** Heroku Postgres through the data API: an API without a schema, so all that is known of it is in this file. */
import { AbortedError, OutcomeUnknownError, SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun, scoped, withRun } from '../../events/run.ts'
import { ignored } from './client.ts'
import type { HerokuContext } from './context.ts'
import { isNotFound } from './errors.ts'
import type { Attachment, BackupSchedule, Transfer } from './resources.ts'
import * as resource from './resources.ts'
import { readSettings } from './settings.ts'
import { waitFor } from './wait.ts'

const base = '/client/v11'
const data = { data: true } as const

/** The database behind `DATABASE_URL` (or another attachment), or undefined where the app has none. */
export async function databaseOf(context: HerokuContext, name = 'DATABASE'): Promise<Attachment | undefined> {
  const all = await context.client.list(`${context.path}/addon-attachments`, resource.attachment)
  const wanted = name.replace(/_URL$/, '')
  return all.find((each) => each.name === wanted)
}

export async function requireDatabase(context: HerokuContext, name?: string): Promise<Attachment> {
  const found = await databaseOf(context, name)
  if (!found) {
    throw new SlipwayError('heroku-no-database', `${context.app} has no ${name ?? 'DATABASE'}`, {
      host: context.app,
      next: 'Declare it under [staging.addons], `heroku-postgresql = essential-0`, and run `tasks init_staging_app`; `heroku addons:plans heroku-postgresql` lists the plans.',
    })
  }
  return found
}

/** The attachment of which `is` holds, with the URL that the app's variables have for it. */
export async function attachedAs(
  context: HerokuContext,
  is: (attachment: Attachment, url: string | undefined) => boolean,
): Promise<{ attachment: Attachment; url: string | undefined } | undefined> {
  const [all, settings] = await Promise.all([
    context.client.list(`${context.path}/addon-attachments`, resource.attachment),
    readSettings(context),
  ])
  return all
    .map((attachment) => ({ attachment, url: settings[`${attachment.name}_URL`] }))
    .find(({ attachment, url }) => is(attachment, url))
}

/** `pony::DATABASE`: how a database is named where something overwrites it. */
export const databaseName = (attachment: Attachment): string => `${attachment.app.name}::${attachment.name}`

/** The URL of an attachment: from the app's variables, so that rotated credentials are right. */
export async function databaseUrl(context: HerokuContext, name = 'DATABASE'): Promise<string | undefined> {
  return (await readSettings(context))[`${name}_URL`]
}

export const info = (
  context: HerokuContext,
  attachment: Attachment,
): Promise<ReturnType<typeof resource.databaseInfo>> =>
  context.client.get(`${base}/databases/${attachment.addon.id}`, resource.databaseInfo, data)

const units: Readonly<Record<string, number>> = { kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 }

/** What the plan holds, in bytes, as the platform says it: `8.1 MB / 1.00 GB (0.8%)`. Undefined where it says none. */
export function planLimit(about: ReturnType<typeof resource.databaseInfo>): number | undefined {
  const text = about.info.find((each) => each.name === 'Data Size')?.values[0] ?? ''
  const match = /\/\s*([\d.]+)\s*(kB|MB|GB|TB)/.exec(text)
  return match ? Number(match[1]) * (units[match[2] as string] as number) : undefined
}

/** Refuses a copy that the target's plan would not hold: Heroku would revoke its right to write some days later. */
export async function requireRoom(
  from: { context: HerokuContext; attachment: Attachment },
  to: { context: HerokuContext; attachment: Attachment },
): Promise<void> {
  const [source, target] = await Promise.all([info(from.context, from.attachment), info(to.context, to.attachment)])
  refuseOver(databaseName(from.attachment), source.num_bytes ?? 0, target, to)
}

/** The same for a backup: what the database had when it was made. */
export async function requireRoomFor(
  backup: Transfer,
  to: { context: HerokuContext; attachment: Attachment },
): Promise<void> {
  refuseOver(`the backup ${transferName(backup)}`, backup.source_bytes, await info(to.context, to.attachment), to)
}

function refuseOver(
  what: string,
  bytes: number,
  about: ReturnType<typeof resource.databaseInfo>,
  to: { context: HerokuContext; attachment: Attachment },
): void {
  const limit = planLimit(about)
  if (limit === undefined || bytes <= limit) return
  const { name } = to.context.deployment
  throw new SlipwayError(
    'heroku-too-large',
    `${what} has ${Math.ceil(bytes / 1e6)} MB, and the plan of ${databaseName(to.attachment)} (${to.attachment.addon.name}) holds ${Math.floor(limit / 1e6)} MB`,
    {
      host: to.context.app,
      state: 'Nothing was changed.',
      next: `Set a larger plan under [${name}.addons] and run \`tasks init_${name}_app\`; \`heroku addons:plans heroku-postgresql\` lists them.`,
    },
  )
}

/** Waits until the database can be connected to. */
export async function waitForDatabase(
  context: HerokuContext,
  attachment: Attachment,
  deadlineMs = 15 * 60_000,
): Promise<void> {
  await waitFor(
    async () => {
      const now = await context.client.get(
        `${base}/databases/${attachment.addon.id}/wait_status`,
        resource.waitStatus,
        data,
      )
      if (now['error?'])
        throw new SlipwayError('heroku-database-failed', `${attachment.addon.name}: ${now.message}`, {
          host: context.app,
        })
      return now['waiting?'] ? undefined : true
    },
    {
      deadlineMs,
      maxPauseMs: 5000,
      late: () =>
        new SlipwayError(
          'heroku-database-late',
          `${attachment.addon.name} is not available after ${deadlineMs / 1000} s`,
          { host: context.app, next: `heroku pg:wait --app ${context.app}` },
        ),
    },
  )
}

/** `b001` captured, `a001` by schedule, `r001` restored, `c001` copied. */
export function transferName(transfer: Transfer): string {
  const number = String(transfer.num).padStart(3, '0')
  if (transfer.to_type === 'gof3r') return `${transfer.schedule ? 'a' : 'b'}${number}`
  return `${transfer.from_type === 'pg_dump' ? 'c' : 'r'}${number}`
}

/** Transfers are kept under the app that the add-on is billed to, not where it is attached. */
const owner = (attachment: Attachment): string => encodeURIComponent(attachment.addon.app.name)

export const transfersOf = async (context: HerokuContext, attachment: Attachment): Promise<Transfer[]> =>
  (await context.client.list(`${base}/apps/${owner(attachment)}/transfers`, resource.transfer, data)).sort(
    (a, b) => b.num - a.num,
  )

/** Resolves with all transfers, once none is under way that overwrites a database of the app: one of a run that died, say. */
export async function transfersEnded(context: HerokuContext, attachment: Attachment): Promise<Transfer[]> {
  let told = false
  return waitFor(
    async () => {
      const all = await transfersOf(context, attachment)
      const open = all.find((each) => each.to_type === 'pg_restore' && !each.finished_at)
      if (!open) return all
      const text = `waiting for ${transferName(open)}, which overwrites a database of ${attachment.addon.app.name} just now`
      if (!told) currentRun().emit({ type: 'note', host: context.app, text })
      told = true
      return undefined
    },
    {
      deadlineMs: 6 * 3600_000,
      maxPauseMs: 3000,
      late: () =>
        new SlipwayError('heroku-transfer-late', 'a transfer is still going on after six hours', { host: context.app }),
    },
  )
}

export const isBackup = (transfer: Transfer): boolean => transfer.to_type === 'gof3r'

async function start(
  context: HerokuContext,
  attachment: Attachment,
  path: string,
  body: unknown,
  what: string,
): Promise<Transfer> {
  const run = currentRun()
  const newest = (await transfersEnded(context, attachment))[0]?.num ?? 0
  try {
    const made = await context.client.write('POST', path, resource.transfer, {
      ...data,
      body,
      reread: async () => (await transfersOf(context, attachment)).find((each) => each.num > newest),
    })
    return run.options.dryRun ? made : await finished(context, attachment, made, what)
  } catch (error) {
    if (!run.signal.aborted || (await cancelled(context, attachment, newest))) throw error
    throw new AbortedError('interrupted', { cause: endUnknown(context, what, error) })
  }
}

/** It may go on at the platform: what it writes into is not to be touched before its end. */
const endUnknown = (context: HerokuContext, what: string, cause: unknown): OutcomeUnknownError =>
  new OutcomeUnknownError(
    'heroku-transfer-unknown',
    `${what}: its end could not be seen: ${cause instanceof Error ? cause.message : String(cause)}`,
    {
      host: context.app,
      cause,
      state: 'It may still be going on at Heroku.',
      next: 'Type the same command again on this machine: it waits until Heroku is done, and goes on from there.',
    },
  )

/** Whether that is so of an error, or of what it comes from. */
export const leavesGoing = (error: unknown): boolean =>
  error instanceof OutcomeUnknownError || (error instanceof AbortedError && error.cause instanceof OutcomeUnknownError)

/**
 * Ctrl-C: what was begun is cancelled, and its end waited for, so that nothing is written into the database after
 * whoever called has gone on. False: it may go on all the same.
 */
async function cancelled(context: HerokuContext, attachment: Attachment, newest: number): Promise<boolean> {
  const { client } = context
  const calm = scoped(currentRun(), { signal: AbortSignal.timeout(120_000) })
  return withRun(calm, async () => {
    const open = async (): Promise<Transfer[]> =>
      (await transfersOf(context, attachment)).filter((each) => each.num > newest && !each.finished_at)
    try {
      for (const each of await open()) {
        await client.write('POST', `${base}/apps/${owner(attachment)}/transfers/${each.uuid}/actions/cancel`, ignored, {
          ...data,
          body: {},
          reread: async () => undefined,
        })
      }
      await waitFor(async () => ((await open()).length === 0 ? true : undefined), {
        deadlineMs: 100_000,
        late: () => new SlipwayError('heroku-transfer-late', 'the transfer did not end after it was cancelled'),
      })
      return true
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const text = `a transfer into ${databaseName(attachment)} may still be going on: ${why}`
      currentRun().emit({ type: 'warning', host: context.app, text })
      return false
    }
  })
}

/** Follows a transfer to its end. One that did not succeed is an error with its own log. */
async function finished(
  context: HerokuContext,
  attachment: Attachment,
  made: Transfer,
  what: string,
): Promise<Transfer> {
  const { client } = context
  const path = `${base}/apps/${owner(attachment)}/transfers/${made.uuid}`
  const ended = await waitFor(
    async () => {
      const now = await client.get(path, resource.transfer, data)
      currentRun().emit({
        type: 'progress',
        id: made.uuid,
        host: context.app,
        label: what,
        done: now.processed_bytes,
        ...(now.source_bytes ? { total: now.source_bytes } : {}),
        unit: 'bytes',
      })
      return now.finished_at ? now : undefined
    },
    {
      deadlineMs: 6 * 3600_000,
      maxPauseMs: 3000,
      late: () =>
        new SlipwayError('heroku-transfer-late', `${what}: still going on after six hours`, { host: context.app }),
    },
  ).catch((error: unknown) => {
    throw isBackup(made) || error instanceof AbortedError ? error : endUnknown(context, what, error)
  })
  if (ended.succeeded !== true) throw await transferError(context, path, what)
  if (ended.warnings > 0)
    currentRun().emit({
      type: 'warning',
      host: context.app,
      text: `${what}: ${ended.warnings} warnings; see \`heroku pg:backups:info ${transferName(ended)}\``,
    })
  return ended
}

async function transferError(context: HerokuContext, path: string, what: string): Promise<SlipwayError> {
  const full = await context.client.get(`${path}?verbose=true`, resource.transfer, data)
  const log = full.logs.map((line) => line.message).join('\n')
  const extension = /extension "([^"]+)"/.exec(log)?.[1]
  if (extension) {
    return new SlipwayError('heroku-extension', `${what}: the extension ${extension} is not in the target database`, {
      host: context.app,
      detail: log.split('\n').slice(-5).join('\n'),
      next: `heroku pg:psql --app ${context.app} -c 'CREATE EXTENSION ${extension}', and run it again.`,
    })
  }
  if (/No space left|disk full|too large|exceeds/i.test(log)) {
    return new SlipwayError('heroku-too-large', `${what}: the data doesn't fit into the target's plan`, {
      host: context.app,
      detail: log.split('\n').slice(-5).join('\n'),
      next: `Give the target a larger plan under [${context.deployment.name}.addons] in config/deploy.ini, and run \`tasks init_${context.deployment.name}_app\`.`,
    })
  }
  return new SlipwayError('heroku-transfer-failed', `${what} failed`, {
    host: context.app,
    detail: log.split('\n').slice(-10).join('\n'),
    next: 'Run it again.',
  })
}

export const capture = (context: HerokuContext, attachment: Attachment): Promise<Transfer> =>
  start(
    context,
    attachment,
    `${base}/databases/${attachment.addon.id}/backups`,
    {},
    `backup of ${databaseName(attachment)}`,
  )

/** The finished backup named `b001`, its number or its uuid; the newest without a name. */
export async function findBackup(context: HerokuContext, attachment: Attachment, name?: string): Promise<Transfer> {
  const all = (await transfersOf(context, attachment)).filter((each) => isBackup(each) && each.succeeded === true)
  const found =
    name === undefined
      ? all[0]
      : all.find((each) => transferName(each) === name || String(each.num) === name || each.uuid === name)
  if (!found) {
    throw new UsageError(
      'no-backup',
      name === undefined
        ? `${databaseName(attachment)} has no backup`
        : `${databaseName(attachment)} has no finished backup ${name}`,
      {
        next:
          all.length > 0
            ? `There are ${all.slice(0, 5).map(transferName).join(', ')}.`
            : 'Make one: `tasks backup_db`.',
      },
    )
  }
  return found
}

/** A URL from which a backup can be downloaded for a while. It is a secret: who has it has the data. */
export async function backupUrl(context: HerokuContext, attachment: Attachment, backup: Transfer): Promise<string> {
  const { url } = await context.client.write(
    'POST',
    `${base}/apps/${owner(attachment)}/transfers/${backup.num}/actions/public-url`,
    resource.publicUrl,
    {
      ...data,
      body: {},
      reads: true,
      reread: async () => undefined,
    },
  )
  const { Secret } = await import('../../shell/secret.ts')
  currentRun().secrets.add(new Secret(url, 'backup URL'))
  return url
}

/** Overwrites the database by a backup (of whatever app); schedules, which a restore drops, are put back: `kept`, or those there are. */
export async function restoreFrom(
  context: HerokuContext,
  attachment: Attachment,
  url: string,
  what: string,
  kept?: readonly BackupSchedule[],
): Promise<Transfer> {
  const schedules = kept ?? (await schedulesOf(context, attachment))
  const ended = await start(
    context,
    attachment,
    `${base}/databases/${attachment.addon.id}/restores`,
    { backup_url: url },
    what,
  )
  if (!currentRun().options.dryRun) await keepSchedules(context, attachment, schedules)
  return ended
}

/** A database, as one app knows it. */
export interface Place {
  context: HerokuContext
  attachment: Attachment
}

/** Puts a backup of `from`, by its name, in the place of what `into` holds (the same database unless given). */
export async function restoreBackup(
  name: string,
  from: Place,
  into: Place = from,
  schedules?: readonly BackupSchedule[],
): Promise<void> {
  const backup = await findBackup(from.context, from.attachment, name)
  const url = await backupUrl(from.context, from.attachment, backup)
  await restoreFrom(
    into.context,
    into.attachment,
    url,
    `restore of ${name} to ${databaseName(into.attachment)}`,
    schedules,
  )
}

/** Copies one database over another. Both URLs come from the apps' variables. */
export async function copyDatabase(source: Place, target: Place): Promise<Transfer> {
  const [fromUrl, toUrl] = await Promise.all([
    databaseUrl(source.context, source.attachment.name),
    databaseUrl(target.context, target.attachment.name),
  ])
  const body = { from_name: source.attachment.name, from_url: fromUrl, to_name: target.attachment.name, to_url: toUrl }
  const what = `copy of ${databaseName(source.attachment)} to ${databaseName(target.attachment)}`
  const schedules = await schedulesOf(target.context, target.attachment)
  const ended = await start(
    target.context,
    target.attachment,
    `${base}/databases/${target.attachment.addon.id}/transfers`,
    body,
    what,
  )
  if (!currentRun().options.dryRun) await keepSchedules(target.context, target.attachment, schedules)
  return ended
}

export const schedulesOf = (context: HerokuContext, attachment: Attachment): Promise<BackupSchedule[]> =>
  context.client.list(`${base}/databases/${attachment.addon.id}/transfer-schedules`, resource.backupSchedule, data)

/** Daily, at a whole hour of a time zone; the platform knows no finer. */
export async function scheduleBackups(
  context: HerokuContext,
  attachment: Attachment,
  at: { hour: number; timezone: string; name?: string },
): Promise<void> {
  const body = { hour: at.hour, timezone: at.timezone, schedule_name: at.name ?? `${attachment.name}_URL` }
  await context.client.write(
    'POST',
    `${base}/databases/${attachment.addon.id}/transfer-schedules`,
    resource.backupSchedule,
    {
      ...data,
      body,
      reread: async () =>
        (await schedulesOf(context, attachment)).find((each) => each.hour === at.hour && each.timezone === at.timezone),
    },
  )
  if (!currentRun().options.dryRun)
    currentRun().emit({ type: 'changed', host: context.app, what: `daily backups at ${at.hour}:00 ${at.timezone}` })
}

async function keepSchedules(
  context: HerokuContext,
  attachment: Attachment,
  before: readonly BackupSchedule[],
): Promise<void> {
  const now = await schedulesOf(context, attachment)
  for (const each of before) {
    if (now.some((other) => other.hour === each.hour && other.timezone === each.timezone && other.name === each.name))
      continue
    await scheduleBackups(context, attachment, each)
  }
}

export async function unschedule(context: HerokuContext, attachment: Attachment): Promise<number> {
  const all = await schedulesOf(context, attachment)
  for (const each of all) {
    await context.client
      .write('DELETE', `${base}/databases/${attachment.addon.id}/transfer-schedules/${each.uuid}`, ignored, {
        ...data,
        reread: async () => undefined,
      })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error
      })
  }
  return all.length
}

/** Empties the database. */
export const resetDatabase = (context: HerokuContext, attachment: Attachment): Promise<unknown> =>
  context.client.write('PUT', `${base}/databases/${attachment.addon.id}/reset`, resource.anything, {
    ...data,
    body: {},
    reread: async () => undefined,
  })

/** Who may log in: names, states and users, without their passwords. */
export async function credentials(
  context: HerokuContext,
  attachment: Attachment,
): Promise<{ name: string; state: string; users: string[] }[]> {
  const all = await context.client.list(
    `/postgres/v0/databases/${attachment.addon.id}/credentials`,
    resource.credential,
    { ...data, basic: true },
  )
  return all.map(({ name, state, credentials: logins }) => ({ name, state, users: logins.map(({ user }) => user) }))
}

/** Makes another add-on the app's DATABASE. The one that was keeps an attachment of its own name. */
export async function attachDatabase(context: HerokuContext, addon: string, name = 'DATABASE'): Promise<Attachment> {
  const before = await databaseOf(context, name)
  if (before && (before.addon.name === addon || before.addon.id === addon)) return before
  if (before) {
    const others = await context.client.list(`${context.path}/addon-attachments`, resource.attachment)
    if (!others.some((each) => each.addon.id === before.addon.id && each.name !== name)) {
      await context.client.write('POST', '/addon-attachments', resource.attachment, {
        body: { addon: before.addon.name, app: context.app, confirm: context.app },
        reread: async () =>
          (await context.client.list(`${context.path}/addon-attachments`, resource.attachment)).find(
            (each) => each.addon.id === before.addon.id && each.name !== name,
          ),
      })
    }
  }
  const made = await context.client.write('POST', '/addon-attachments', resource.attachment, {
    body: { addon, app: context.app, name, confirm: context.app },
    reread: async () => {
      const now = await databaseOf(context, name)
      return now && (now.addon.name === addon || now.addon.id === addon) ? now : undefined
    },
  })
  if (!currentRun().options.dryRun)
    currentRun().emit({ type: 'changed', host: context.app, what: `${name} is ${addon}` })
  return made
}
