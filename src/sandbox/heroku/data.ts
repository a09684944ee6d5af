/** The data API: information on databases, backups, restores and copies with the real pg_dump and pg_restore. */
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { findAddon } from './addons.ts'
import { ApiError } from './http.ts'
import type { Addon, App, Schedule, Transfer } from './state.ts'
import { background, findApp, type World } from './world.ts'

export function dataRoutes(world: World): void {
  const { api, state, faults } = world
  const base = '/client/v11'

  const databaseOf = (identity: string): Addon => {
    const addon = findAddon(world, identity)
    if (addon.service !== 'heroku-postgresql') throw new ApiError(404, 'not_found', 'not a database')
    return addon
  }
  const ready = (identity: string): Addon => {
    const addon = databaseOf(identity)
    if (!addon.database) throw new ApiError(422, 'invalid_params', 'The database is not available yet.')
    return addon
  }
  const show = (each: Transfer, verbose = false): unknown => ({
    uuid: each.uuid,
    num: each.num,
    from_name: each.fromName,
    from_type: each.fromType,
    from_url: each.fromUrl ? 'postgres://…' : null,
    to_name: each.toName,
    to_type: each.toType,
    // Where a backup lies is told; without a signature it can only be restored from.
    to_url: each.toUrl ? 'postgres://…' : each.toType === 'gof3r' ? `${world.url}/_backups/${each.uuid}` : null,
    options: {},
    source_bytes: each.sourceBytes,
    processed_bytes: each.bytes,
    succeeded: each.succeeded,
    warnings: each.warnings,
    created_at: each.createdAt,
    started_at: each.startedAt,
    canceled_at: each.canceledAt,
    updated_at: each.finishedAt ?? each.createdAt,
    finished_at: each.finishedAt,
    schedule: each.schedule ? { uuid: each.schedule } : null,
    logs: verbose ? each.logs : each.logs.slice(-1),
  })
  const make = (app: App, parts: Partial<Transfer>): Transfer => {
    const transfer: Transfer = {
      uuid: randomUUID(),
      num: state.transfers.filter((each) => each.app === app).length + 1,
      app,
      fromType: 'pg_dump',
      fromName: 'DATABASE',
      fromUrl: null,
      toType: 'gof3r',
      toName: 'BACKUP',
      toUrl: null,
      createdAt: faults.timestamp(),
      startedAt: null,
      finishedAt: null,
      canceledAt: null,
      succeeded: null,
      bytes: 0,
      sourceBytes: 0,
      warnings: 0,
      logs: [],
      file: null,
      schedule: null,
      ...parts,
    }
    state.transfers.push(transfer)
    return transfer
  }
  const go = (transfer: Transfer, work: () => Promise<void>): void => {
    const say = (message: string): void => void transfer.logs.push({ created_at: faults.timestamp(), message })
    background(world, async () => {
      transfer.startedAt = faults.timestamp()
      say('starting transfer')
      try {
        const fault = transfer.toType === 'pg_restore' ? faults.on.failTransfers : 'no'
        if (fault !== 'no') {
          faults.on.failTransfers = 'no'
          throw new Error(
            fault === 'extensions'
              ? 'pg_restore: error: could not execute query: ERROR:  extension "postgis" is not available'
              : 'internal error: transfer aborted',
          )
        }
        await work()
        if (transfer.canceledAt) throw new Error('canceled')
        transfer.succeeded = true
        say('transfer finished')
      } catch (error) {
        transfer.succeeded = false
        say(error instanceof Error ? error.message : String(error))
      }
      transfer.finishedAt = faults.timestamp()
    })
  }
  const fileFor = async (transfer: Transfer): Promise<string> => {
    await mkdir(join(world.dir, 'backups'), { recursive: true })
    return join(world.dir, 'backups', `${transfer.uuid}.dump`)
  }
  const ownerOf = (url: string): Addon | undefined => state.addons.find((each) => each.database?.url === url)

  api.route('GET', `${base}/databases/:db`, async ({ params }) => {
    const addon = databaseOf(params['db']!)
    const info: { name: string; values: string[]; resolve_db_name?: boolean }[] = [
      { name: 'Plan', values: [addon.plan] },
      { name: 'Status', values: [addon.state === 'provisioned' ? 'Available' : 'Preparing'] },
    ]
    let bytes = 0
    let tables = 0
    if (addon.database) {
      bytes = Number(await world.postgres.sql(addon.database.name, 'SELECT pg_database_size(current_database())'))
      tables = Number(
        await world.postgres.sql(
          addon.database.name,
          "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog','information_schema')",
        ),
      )
      info.push(
        { name: 'Connections', values: ['1/20'] },
        { name: 'PG Version', values: ['15'] },
        {
          name: 'Data Size',
          values: [
            `${(bytes / 1e6).toFixed(1)} MB / ${(world.faults.on.planBytes / 1e6).toFixed(2)} MB (${((bytes / world.faults.on.planBytes) * 100).toFixed(1)}%)`,
          ],
        },
        { name: 'Tables', values: [String(tables)] },
      )
    }
    return {
      body: {
        addon_id: addon.id,
        name: addon.name,
        plan: addon.plan,
        info,
        num_bytes: bytes,
        num_tables: tables,
        created_at: addon.createdAt,
        database_name: addon.database?.name ?? null,
        'waiting?': addon.state === 'provisioning',
        available_for_ingress: addon.state === 'provisioned',
      },
    }
  })
  api.route('GET', `${base}/databases/:db/wait_status`, ({ params }) => {
    const addon = databaseOf(params['db']!)
    const waiting = addon.state === 'provisioning'
    return {
      body: {
        'waiting?': waiting,
        'error?': addon.state === 'deprovisioned',
        message: waiting ? 'preparing' : 'available',
      },
    }
  })
  api.route('PUT', `${base}/databases/:db/reset`, async ({ params }) => {
    const addon = ready(params['db']!)
    const names = (
      await world.postgres.sql(
        addon.database!.name,
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
      )
    )
      .split('\n')
      .filter(Boolean)
    await world.postgres.sql(
      addon.database!.name,
      [
        ...names.map((name) => `DROP SCHEMA "${name}" CASCADE`),
        `CREATE SCHEMA public AUTHORIZATION "${addon.database!.user}"`,
      ].join('; '),
    )
    return { body: { message: 'Reset successful.' } }
  })
  api.route('GET', `${base}/apps/:app/transfers`, ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: state.transfers.filter((each) => each.app === app).map((each) => show(each)) }
  })
  const one = (app: App, identity: string): Transfer => {
    const found = state.transfers.find(
      (each) => each.app === app && (each.uuid === identity || String(each.num) === identity),
    )
    if (!found) throw new ApiError(404, 'not_found', 'No such transfer')
    return found
  }
  api.route('GET', `${base}/apps/:app/transfers/:transfer`, ({ params, query }) => {
    const app = findApp(world, params['app']!)
    return { body: show(one(app, params['transfer']!), query.get('verbose') === 'true') }
  })
  api.route('DELETE', `${base}/apps/:app/transfers/:transfer`, ({ params }) => {
    const app = findApp(world, params['app']!)
    const transfer = one(app, params['transfer']!)
    state.transfers = state.transfers.filter((each) => each !== transfer)
    return { body: show(transfer) }
  })
  api.route('POST', `${base}/apps/:app/transfers/:transfer/actions/cancel`, ({ params }) => {
    const transfer = one(findApp(world, params['app']!), params['transfer']!)
    transfer.canceledAt = faults.timestamp()
    return { body: show(transfer) }
  })
  api.route('POST', `${base}/transfers/:transfer/actions/cancel`, ({ params }) => {
    const transfer = state.transfers.find((each) => each.uuid === params['transfer'])
    if (!transfer) throw new ApiError(404, 'not_found', 'No such transfer')
    transfer.canceledAt = faults.timestamp()
    return { body: show(transfer) }
  })
  api.route('POST', `${base}/apps/:app/transfers/:transfer/actions/public-url`, ({ params }) => {
    const transfer = one(findApp(world, params['app']!), params['transfer']!)
    if (!transfer.file || !transfer.succeeded) throw new ApiError(422, 'invalid_params', 'The backup is not finished.')
    const expires = new Date(faults.now().getTime() + 3600e3).toISOString()
    return { body: { url: `${world.url}/_backups/${transfer.uuid}?signature=x`, expires_at: expires } }
  })
  api.route(
    'GET',
    '/_backups/:uuid',
    async ({ params, query, response }) => {
      const transfer = state.transfers.find((each) => each.uuid === params['uuid'])
      if (!query.has('signature')) throw new ApiError(403, 'AccessDenied', 'Access Denied')
      if (!transfer?.file) throw new ApiError(404, 'NoSuchKey', 'no such backup')
      const { size } = await stat(transfer.file)
      response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': String(size) })
      createReadStream(transfer.file).pipe(response)
      return undefined
    },
    { open: true },
  )

  const capture = (addon: Addon, parts: Partial<Transfer> = {}): Transfer => {
    const transfer = make(addon.app, { fromName: 'DATABASE', fromUrl: addon.database!.url, ...parts })
    go(transfer, async () => {
      const file = await fileFor(transfer)
      transfer.sourceBytes = Number(
        await world.postgres.sql(addon.database!.name, 'SELECT pg_database_size(current_database())'),
      )
      await world.postgres.dump(addon.database!.url, file)
      transfer.file = file
      transfer.bytes = (await stat(file)).size
    })
    return transfer
  }
  api.route('POST', `${base}/databases/:db/backups`, ({ params }) => ({
    status: 201,
    body: show(capture(ready(params['db']!))),
  }))
  api.route('POST', `${base}/databases/:db/restores`, ({ params, body }) => {
    const addon = ready(params['db']!)
    const transfer = make(addon.app, {
      fromType: 'gof3r',
      fromName: 'BACKUP',
      fromUrl: String(body.backup_url),
      toType: 'pg_restore',
      toName: 'DATABASE',
      toUrl: addon.database!.url,
    })
    go(transfer, async () => {
      const uuid = /_backups\/([^?/]+)/.exec(String(body.backup_url))?.[1]
      const from = state.transfers.find((each) => each.uuid === uuid)
      if (!from?.file) throw new Error(`could not fetch ${body.backup_url}`)
      await world.postgres.restore(addon.database!.url, from.file)
      transfer.bytes = from.bytes
      // A restore drops the schedules, as on the platform.
      state.schedules = state.schedules.filter((each) => each.addon !== addon)
    })
    return { status: 201, body: show(transfer) }
  })
  api.route('POST', `${base}/databases/:db/transfers`, ({ params, body }) => {
    const addon = ready(params['db']!)
    if (!ownerOf(String(body.from_url)) || String(body.to_url) !== addon.database!.url)
      throw new ApiError(422, 'invalid_params', 'from_url and to_url must be URLs of databases')
    const transfer = make(addon.app, {
      fromName: String(body.from_name),
      fromUrl: String(body.from_url),
      toType: 'pg_restore',
      toName: String(body.to_name),
      toUrl: String(body.to_url),
    })
    go(transfer, async () => {
      const file = await fileFor(transfer)
      await world.postgres.dump(String(body.from_url), file)
      await world.postgres.restore(String(body.to_url), file)
      transfer.bytes = (await stat(file)).size
    })
    return { status: 201, body: show(transfer) }
  })
  const showSchedule = (each: Schedule): unknown => ({
    uuid: each.uuid,
    name: each.name,
    hour: each.hour,
    timezone: each.timezone,
    days: ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'],
    retain_weeks: 1,
    retain_months: 0,
    created_at: each.createdAt,
    updated_at: each.createdAt,
    deleted_at: null,
  })
  api.route('GET', `${base}/databases/:db/transfer-schedules`, ({ params }) => {
    const addon = databaseOf(params['db']!)
    return { body: state.schedules.filter((each) => each.addon === addon).map(showSchedule) }
  })
  api.route('POST', `${base}/databases/:db/transfer-schedules`, ({ params, body }) => {
    const addon = ready(params['db']!)
    const hour = Number(body.hour)
    if (!Number.isInteger(hour) || hour < 0 || hour > 23)
      throw new ApiError(422, 'invalid_params', 'hour must be a whole hour from 0 to 23')
    // One schedule a database: a new one takes the place of the old.
    state.schedules = state.schedules.filter((each) => each.addon !== addon || each.name !== body.schedule_name)
    const schedule: Schedule = {
      uuid: randomUUID(),
      addon,
      name: String(body.schedule_name),
      hour,
      timezone: String(body.timezone ?? 'UTC'),
      createdAt: faults.timestamp(),
    }
    state.schedules.push(schedule)
    return { status: 201, body: showSchedule(schedule) }
  })
  api.route('DELETE', `${base}/databases/:db/transfer-schedules/:schedule`, ({ params }) => {
    const found = state.schedules.find((each) => each.uuid === params['schedule'])
    if (!found) throw new ApiError(404, 'not_found', 'No such schedule')
    state.schedules = state.schedules.filter((each) => each !== found)
    return { body: showSchedule(found) }
  })
  const credential = (addon: Addon): unknown => ({
    uuid: addon.id,
    name: 'default',
    state: 'active',
    database: addon.database!.name,
    host: '127.0.0.1',
    port: Number(new URL(addon.database!.url).port),
    credentials: [{ user: addon.database!.user, password: addon.database!.password, state: 'active' }],
  })
  api.route('GET', '/postgres/v0/databases/:db/credentials', ({ params }) => ({
    body: [credential(ready(params['db']!))],
  }))
  api.route('GET', '/postgres/v0/databases/:db/credentials/:name', ({ params }) => {
    if (params['name'] !== 'default') throw new ApiError(404, 'not_found', 'No such credential')
    return { body: credential(ready(params['db']!)) }
  })
}
