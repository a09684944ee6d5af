/** Rollbacks that take migrations back first: Django's by their times, Alembic's by the head of the old code. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AppConfig } from '../../../src/config/types.ts'
import { alembicHeads } from '../../../src/targets/heroku/reverse.ts'
import { api, makeApps, type Stage, setStage } from './stage.ts'

const fixtures = join(import.meta.dirname, '../../fixtures')

let stage: Stage
beforeAll(async () => {
  stage = await setStage()
  await makeApps(stage.heroku)
  for (const [name, folder] of [
    ['staging', 'django'],
    ['production', 'alembic'],
  ] as const) {
    mkdirSync(join(stage.dir, folder))
    cpSync(join(fixtures, `${folder}-app`), join(stage.dir, folder), { recursive: true })
    writeFileSync(join(stage.dir, folder, 'requirements.txt'), folder === 'django' ? 'Django\n' : 'alembic\n')
    const app: AppConfig = {
      ...stage.config.app,
      source: folder,
      migrations: folder as 'django' | 'alembic',
      health: { path: folder === 'django' ? '/up' : '/', status: 200, deadlineMs: 30_000 },
    }
    stage[name] = stage.deployment(name, { app })
  }
  const environment = join(stage.dir, 'alembic/migrations/env.py')
  writeFileSync(
    environment,
    `import os
from alembic import context
from sqlalchemy import create_engine

with create_engine(os.environ['DATABASE_URL'].replace('postgres://', 'postgresql://')).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
`,
  )
  await api(stage.heroku, 'PATCH', '/apps/pony-staging/config-vars', {
    SECRET_KEY: 'x',
    REDIS_URL: 'redis://127.0.0.1:1',
  })
  stage.commit({
    'django/Procfile':
      'web: exec python3 manage.py runserver --noreload 127.0.0.1:$PORT\nrelease: python3 manage.py migrate --noinput\n',
    'alembic/Procfile':
      'web: exec python3 -m http.server --bind 127.0.0.1 $PORT\nrelease: python3 -m alembic upgrade head\n',
  })
}, 90_000)
afterAll(() => stage.close())

/** The platform writes times to the second: what comes next is told from what was. */
async function secondPasses(): Promise<void> {
  const now = Math.floor(Date.now() / 1000)
  while (Math.floor(Date.now() / 1000) === now) await new Promise((resolve) => setTimeout(resolve, 20))
}

test("Django's migrations since a release are reversed, app by app, and its code is back", async () => {
  const applied = (): Promise<string> =>
    stage.heroku.sql(
      'pony-staging',
      "SELECT string_agg(app || '.' || name, ' ' ORDER BY app, name) FROM django_migrations",
    )
  const { value: first } = await stage.run(() => stage.staging.deploy())
  expect(await applied()).toBe('entries.0001_initial')
  await secondPasses()
  cpSync(join(fixtures, 'django-later'), join(stage.dir, 'django'), { recursive: true })
  stage.commit({})
  await stage.run(() => stage.staging.deploy())
  expect(await applied()).toBe('entries.0001_initial entries.0002_entry_club notes.0001_initial')
  const shown = await stage.run(() => stage.staging.run(['python3', 'manage.py', 'showmigrations', '--plan']))
  expect(shown.value).toBe(0)
  expect(JSON.stringify(shown.events)).toContain('[X]  notes.0001_initial')
  await stage.run(() => stage.staging.rollback({ to: first.id, migrate: true }))
  expect(await applied()).toBe('entries.0001_initial')
  expect(
    await stage.heroku.sql(
      'pony-staging',
      "SELECT count(*) FROM information_schema.tables WHERE table_name LIKE 'notes%'",
    ),
  ).toBe('0')
  const [current] = (await stage.run(() => stage.staging.versions())).value.filter((each) => each.current)
  expect(current?.description).toBe(`Rollback to ${first.id}`)
  expect((await stage.get('pony-staging', '/')).body).toEqual({ entries: 0 })
}, 120_000)

test('Alembic goes back to the head that the old code had in git; where that is not known, nothing is done', async () => {
  const revision = (): Promise<string> => stage.heroku.sql('pony-production', 'SELECT version_num FROM alembic_version')
  const { value: first } = await stage.run(() => stage.production.deploy())
  expect(await revision()).toBe('1a')
  cpSync(join(fixtures, 'alembic-later'), join(stage.dir, 'alembic'), { recursive: true })
  stage.commit({})
  await stage.run(() => stage.production.deploy())
  expect(await revision()).toBe('2b')
  // Of a release that was not built from a commit here, it can't be told.
  const slug = stage.heroku.state.apps.get('pony-production')!.releases.find((each) => `v${each.version}` === first.id)!
    .slug!
  const { commit } = slug
  for (const [unknown, why] of [
    [null, 'it was not built from a commit'],
    ['f'.repeat(40), 'git has no migrations of its commit fffffff here'],
  ] as const) {
    slug.commit = unknown
    await expect(stage.run(() => stage.production.rollback({ to: first.id, migrate: true }))).rejects.toMatchObject({
      code: 'alembic-unknown',
      message: expect.stringContaining(why),
      next: expect.stringContaining('alembic downgrade REVISION'),
    })
  }
  expect(await revision()).toBe('2b')
  slug.commit = commit
  await stage.run(() => stage.production.rollback({ to: first.id, migrate: true }))
  expect(await revision()).toBe('1a')
}, 120_000)

test('heads are those that nothing comes after, however they are written', () => {
  const lines = [
    "c0ffee:a/versions/1_a.py:revision = '1a'",
    'c0ffee:a/versions/1_a.py:down_revision = None',
    "c0ffee:a/versions/2_b.py:revision: str = '2b'",
    "c0ffee:a/versions/2_b.py:down_revision: Union[str, None] = '1a'",
    'c0ffee:a/versions/3_c.py:revision = "3c"',
    'c0ffee:a/versions/3_c.py:down_revision = "1a"',
  ]
  expect(alembicHeads(lines.join('\n'))).toEqual(['2b', '3c'])
  const merged = [
    ...lines,
    "c0ffee:a/versions/4_d.py:revision = '4d'",
    "c0ffee:a/versions/4_d.py:down_revision = ('2b', '3c')",
  ]
  expect(alembicHeads(merged.join('\n'))).toEqual(['4d'])
})
