/** Databases on servers behind a deployment's own operations, and production cloned into staging. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import { createRun, withRun } from '../../../src/events/index.ts'
import { vpsStore } from '../../../src/targets/vps/store/index.ts'
import { type Cut, cutEachAway } from '../../servers/cut.ts'
import { type Mariadb, startMariadb } from '../../servers/mariadb.ts'
import { type Postgres, startPostgres } from '../../servers/postgres.ts'
import { type Sshd, startSshd } from '../../servers/sshd.ts'
import { createProject, type Project, told } from '../vps/host.ts'

// Real servers on a machine that may be busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const password = 'clone-password-of-a-test'

interface World {
  kind: 'postgres' | 'mysql'
  project: Project
  /** The home of production's host. */
  home: string
  /** That host, where it is another one than staging's. */
  other: Sshd | undefined
  sql(database: string, text: string): string
  databases(): string[]
  stop(): Promise<void>
}

async function createWorld(kind: World['kind'], hosts: 1 | 2): Promise<World> {
  const server: Postgres | Mariadb = kind === 'postgres' ? await startPostgres() : await startMariadb()
  let other: Sshd | undefined
  if (hosts === 2) other = await startSshd({ address: '127.0.0.12' })
  const project = await createProject({
    sshd: other && {
      extraClientConfig: `Host other-host
  HostName ${other.address}
  Port ${other.port}
  User ${other.user}
  IdentityFile ${other.clientKeyFile}
  UserKnownHostsFile ${other.knownHostsFile}
`,
    },
  })
  if (kind === 'postgres') {
    server.sql(`CREATE ROLE app LOGIN CREATEDB PASSWORD '${password}'`)
    for (const name of ['pony', 'pony_staging']) server.sql(`CREATE DATABASE ${name} OWNER app`)
  } else {
    server.sql(`CREATE USER app@'127.0.0.1' IDENTIFIED BY '${password}'; GRANT ALL ON *.* TO app@'127.0.0.1'`)
    for (const name of ['pony', 'pony_staging']) server.sql(`CREATE DATABASE ${name}`)
  }
  const url = (name: string) => `${kind}://app:${password}@${server.address}:${server.port}/${name}`
  project.edit('.env', (text) => `${text}PRODUCTION_URL=${url('pony')}\nSTAGING_URL=${url('pony_staging')}\n`)
  project.edit('config/staging.ini', () => '[pony]\ntitle = {{ deployment }}\n')
  mkdirSync(join(project.dir, 'config/sql'))
  writeFileSync(join(project.dir, 'config/sql/scrub.sql'), "UPDATE rider SET email = 'nobody@example.org';\n")
  const client =
    kind === 'postgres'
      ? `PGPASSWORD=${password} psql -qAtX -h ${server.address} -p ${server.port} -U app pony_staging -c`
      : `MYSQL_PWD=${password} mariadb --no-defaults -h ${server.address} -P ${server.port} -u app pony_staging -e`
  writeFileSync(join(project.dir, 'app/migrate.sh'), `${client} 'CREATE TABLE migrated (id int)'\n`)
  project.configure((text) =>
    text
      .replace('main = sqlite db/pony.sqlite\n', '')
      .replace(/^migrations = .*\n.*\n/m, '')
      .replace(/^migrate = .*\n/m, '')
      .replace(/^init_db = .*\n/m, 'init_db = echo "made" >> "$SLIPWAY_SHARED/init"\n')
      .replace(
        '[staging]\n',
        '[app.shared]\nmedia = directory\n\n[staging]\nmigrate = sh migrate.sh\nscrub = config/sql/scrub.sql\n',
      )
      .replace(
        '[production]\ntarget = vps\nhosts = pony-host\n',
        `[staging.databases]\nmain = ${kind} secret:STAGING_URL\n\n[production.databases]\nmain = ${kind} secret:PRODUCTION_URL\n\n[production]\ntarget = vps\nrelease = r1\nhosts = ${other ? 'other-host' : 'pony-host'}\n`,
      ),
  )
  const sql = (database: string, text: string) => server.sql(text, database)
  sql(
    'pony',
    "CREATE TABLE rider (id int PRIMARY KEY, email varchar(99)); INSERT INTO rider VALUES (1, 'a@real.example'), (2, 'b@real.example')",
  )
  if (kind === 'postgres') server.sql('ALTER TABLE rider OWNER TO app', 'pony')
  return {
    kind,
    project,
    home: other?.home ?? project.home,
    other,
    sql,
    databases: () =>
      server
        .sql(kind === 'postgres' ? 'SELECT datname FROM pg_database' : 'SHOW DATABASES')
        .split('\n')
        .filter((name) => name.startsWith('pony'))
        .sort(),
    async stop() {
      await project.stop()
      await other?.stop()
      await server.stop()
    },
  }
}

describe.each([
  ['postgres', 2],
  ['mysql', 1],
] as const)('%s on %i host(s)', (kind, hosts) => {
  let world: World
  beforeAll(async () => {
    world = await createWorld(kind, hosts)
    for (const deployment of ['staging', 'production']) {
      await world.project.run(
        async (each) => {
          await each.upload()
          // Its migration has a table of its own in every clone, and so is not run before.
          await each.install()
        },
        { deployment },
      )
      if (deployment === 'staging') world.sql('pony_staging', 'DROP TABLE migrated')
    }
  })
  afterAll(() => world?.stop())

  it('knows the size, and that there is data, and keeps what init with force replaces', async () => {
    const { project, sql, databases } = world
    const { value: sizes } = await project.run((production) => production.database.size(), { deployment: 'production' })
    expect(sizes.map(({ name }) => name).sort()).toEqual(['main', 'queue'])
    expect(sizes.find(({ name }) => name === 'main')?.bytes).toBeGreaterThan(kind === 'postgres' ? 1_000_000 : 10_000)
    await project.run((staging) => staging.database.init())
    sql('pony_staging', 'CREATE TABLE rider (id int); INSERT INTO rider VALUES (7)')
    await expect(project.run((staging) => staging.database.init())).rejects.toMatchObject({ code: 'has-data' })
    const { events } = await project.run((staging) => staging.database.init({ unlessThere: true }))
    expect(told(events)).toContain('there is data already: main left as it is')
    await project.run((staging) => staging.database.init({ force: true }))
    const kept = databases().filter((name) => name.startsWith('pony_staging_before_'))
    expect(kept).toHaveLength(1)
    expect(sql(kept[0] as string, 'SELECT id FROM rider')).toBe('7')
    expect(readFileSync(join(project.release, 'shared/init'), 'utf8')).toBe('made\nmade\n')
  })

  it('clones production into staging: scrubbed, migrated, media too, what was there kept', async () => {
    const { project, sql, databases, home } = world
    sql('pony_staging', 'CREATE TABLE club (id int); INSERT INTO club VALUES (1), (2), (3)')
    if (kind === 'postgres') sql('pony_staging', 'ALTER TABLE club OWNER TO app')
    mkdirSync(join(home, 'webapps/ponyr1/shared/media/deep'), { recursive: true })
    writeFileSync(join(home, 'webapps/ponyr1/shared/media/deep/photo.jpg'), 'a photo')
    writeFileSync(join(project.release, 'shared/media/old.jpg'), 'an old one')
    const before = databases()
    const clone = await project.run(async (staging) => {
      const { createVpsDeployment } = await import('../../../src/targets/vps/create.ts')
      const { loadConfig } = await import('../../../src/config/load.ts')
      const config = loadConfig(project.dir)
      const production = config.deployments['production']
      if (production?.target !== 'vps') throw new Error('no production')
      await createVpsDeployment(config, production).database.copyTo(staging)
    })
    expect(sql('pony_staging', 'SELECT email FROM rider ORDER BY id')).toBe('nobody@example.org\nnobody@example.org')
    expect(sql('pony', 'SELECT email FROM rider ORDER BY id')).toBe('a@real.example\nb@real.example')
    expect(sql('pony_staging', 'SELECT count(*) FROM migrated')).toBe('0')
    const made = databases().filter((name) => !before.includes(name))
    expect(made).toEqual([expect.stringMatching(/^pony_staging_before_\d{14,17}$/)])
    expect(sql(made[0] as string, 'SELECT count(*) FROM club')).toBe('3')
    expect(readFileSync(join(project.release, 'shared/media/deep/photo.jpg'), 'utf8')).toBe('a photo')
    expect(existsSync(join(project.release, 'shared/media/old.jpg'))).toBe(false)
    expect(
      readdirSync(join(project.home, '.slipway/pony/backups')).filter((name) => name.startsWith('clone-')),
    ).toEqual([])
    const { value: backups } = await project.run((staging) => staging.database.backups())
    expect(backups.some((each) => each.id.startsWith('staging-') && each.databases.includes('main'))).toBe(true)
    if (hosts === 2) expect(clone.events.some((event) => event.type === 'progress')).toBe(true)
    expect(JSON.stringify(clone.events)).not.toContain(password)
  })

  it('drops what was replaced, but for the newest, and only once what took its place was read', async () => {
    const { project, sql, databases } = world
    const kept = () => databases().filter((name) => name.startsWith('pony_staging_before_'))
    const before = kept()
    expect(before).toHaveLength(2)
    const { value: none, events } = await project.run((staging) => staging.pruneReplaced(), { dryRun: true })
    expect(none).toEqual([])
    expect(told(events)).toContain(`to be deleted: ${before[0]}`)
    expect(told(events)).not.toContain(`to be deleted: ${before[1]}`)
    if (kind === 'postgres') {
      sql('postgres', 'ALTER DATABASE pony_staging ALLOW_CONNECTIONS false')
      await expect(project.run((staging) => staging.pruneReplaced(), { yes: true })).rejects.toMatchObject({
        code: 'database-closed',
        state: 'Nothing was deleted: what it replaced may be needed.',
      })
      sql('postgres', 'ALTER DATABASE pony_staging ALLOW_CONNECTIONS true')
    }
    expect(kept()).toEqual(before)
    const { value: deleted } = await project.run((staging) => staging.pruneReplaced(), { yes: true })
    expect(deleted).toContain(before[0])
    expect(kept()).toEqual([before[1]])
    expect(sql(before[1] as string, 'SELECT count(*) FROM club')).toBe('3')
  })

  it('leaves staging as it was, and no copy, where the scrubbing fails', async () => {
    const { project, sql, databases } = world
    writeFileSync(join(project.dir, 'config/sql/scrub.sql'), 'UPDATE nowhere SET x = 1;\n')
    const [before, rows] = [databases(), sql('pony_staging', 'SELECT email FROM rider ORDER BY id')]
    const failed = project.run(async (staging) => {
      const { copyData } = await import('../../../src/targets/vps/database/clone.ts')
      const { vpsContext } = await import('../../../src/targets/vps/create.ts')
      const { loadConfig } = await import('../../../src/config/load.ts')
      const config = loadConfig(project.dir)
      const production = config.deployments['production']
      if (production?.target !== 'vps') throw new Error('no production')
      await copyData(vpsContext(config, production), vpsContext(config, staging.config))
    })
    await expect(failed).rejects.toThrow(/SQL/)
    expect(databases()).toEqual(before)
    expect(sql('pony_staging', 'SELECT email FROM rider ORDER BY id')).toBe(rows)
  })

  it.runIf(hosts === 2).each(['pony-host', 'other-host'])(
    'leaves staging as it was, and no copy, where the line to %s is lost on the way',
    async (name) => {
      const { project, sql, databases } = world
      const [before, rows] = [databases(), sql('pony_staging', 'SELECT email FROM rider ORDER BY id')]
      const { lines, sshConfigFile } = await cutEachAway(project.sshConfigFile, project.dir, {
        'other-host': world.other as Sshd,
      })
      const line = lines[name] as Cut
      const ended = new AbortController()
      const run = createRun({ options: { projectDir: project.dir, sshConfigFile }, signal: ended.signal })
      let cut = false
      run.bus.on((event) => {
        // It is back as soon as the loss is noticed: what was under way is lost all the same.
        if (event.type === 'host.lost') line.mend()
        if (cut || event.type !== 'progress') return
        cut = true
        line.cut()
      })
      const { copyData } = await import('../../../src/targets/vps/database/clone.ts')
      const { vpsContext } = await import('../../../src/targets/vps/create.ts')
      const config = loadConfig(project.dir)
      const context = (of: string) => vpsContext(config, config.deployments[of] as VpsConfig)
      const error = await withRun(run, () => copyData(context('production'), context('staging'))).catch(
        (reason: unknown) => reason,
      )
      // The locks can't be given back either: nobody waits for that.
      ended.abort()
      await withRun(run, () => run.finish()).catch(() => {})
      line.mend()
      expect({ cut, error }).toMatchObject({
        cut: true,
        error: {
          code: 'connection-lost',
          state: expect.stringContaining('staging runs on with its own data'),
          next: expect.stringContaining('clone_production_db_to_staging'),
        },
      })
      await expect.poll(databases, { timeout: 20_000 }).toEqual(before)
      expect(sql('pony_staging', 'SELECT email FROM rider ORDER BY id')).toBe(rows)
      for (const each of Object.values(lines)) each.close()
      const by = { run: 'test', user: 'u', machine: 'm', command: 'unlock' }
      for (const of of ['staging', 'production']) {
        await project.run(() => vpsStore(context(of).home(), 'pony').breakLock(of, by))
      }
    },
  )

  it('finds a damaged backup out, says so of a server that is not there, and restores none of it', async () => {
    const { project, sql } = world
    execFileSync('/usr/bin/sqlite3', [join(project.release, 'shared/db/queue.sqlite'), 'CREATE TABLE jobs (id)'])
    const { value: backup } = await project.run((staging) => staging.database.backup())
    const { value: paths } = await project.run((staging) => staging.database.backups())
    expect(paths[0]?.id).toBe(backup.id)
    await project.run((staging) => staging.database.verify(backup.id))
    const folder = join(project.home, '.slipway/pony/backups', backup.id)
    const file = readdirSync(folder).find((name) => name.startsWith('main')) as string
    const whole = readFileSync(join(folder, file))
    writeFileSync(join(folder, file), whole.subarray(0, whole.length / 2))
    await expect(project.run((staging) => staging.database.verify(backup.id))).rejects.toMatchObject({
      code: 'bad-backup',
    })
    const rows = sql('pony_staging', 'SELECT email FROM rider ORDER BY id')
    await expect(project.run((staging) => staging.database.restore(backup.id))).rejects.toMatchObject({
      code: 'database-dump-damaged',
      state: expect.stringContaining('main is as it was'),
    })
    expect(sql('pony_staging', 'SELECT email FROM rider ORDER BY id')).toBe(rows)
    writeFileSync(join(folder, file), whole)
    // The backup has what the clone's migration made already.
    project.configure((text) => text.replace('migrate = sh migrate.sh\n', ''))
    sql('pony_staging', 'DELETE FROM rider')
    await project.run((staging) => staging.database.restore(backup.id))
    expect(sql('pony_staging', 'SELECT email FROM rider ORDER BY id')).toBe(rows)
    const right = readFileSync(join(project.dir, '.env'), 'utf8')
    project.edit('.env', (text) => text.replace(/^(STAGING_URL=.*:)\d+\//m, '$11/'))
    for (const operation of ['size', 'backup', 'verify', 'init'] as const) {
      await expect(project.run(async (staging) => void (await staging.database[operation]()))).rejects.toMatchObject({
        code: 'database-unreachable',
        message: expect.stringContaining(':1'),
      })
    }
    project.edit('.env', () => right)
    expect(readdirSync(join(project.home, '.slipway/pony/backups')).filter((name) => name.endsWith('.new'))).toEqual([])
  })
})
