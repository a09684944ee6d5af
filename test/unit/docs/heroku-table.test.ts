import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const repository = join(import.meta.dirname, '../../..')
const rows = readFileSync(join(repository, 'docs/heroku.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (by hand|-)/.test(line))
  .map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )

test('every command of the table is there with the test that runs it', () => {
  expect(rows.length).toBeGreaterThan(35)
  const missing = rows.flatMap((cells) =>
    (cells.at(-1) ?? '')
      .replace(/\(.*?\)/g, '')
      .split(',')
      .map((name) => name.trim())
      .filter((name) => !existsSync(join(repository, `test/integration/heroku/${name}.test.ts`)))
      .map((name) => `${cells[0]}: ${name || 'none'}`),
  )
  expect(missing).toEqual([])
})

test('every task that the table names is in the task file', () => {
  const taskFile = readFileSync(join(repository, 'tasks.ts'), 'utf8')
  const named = rows.flatMap((cells) =>
    [
      ...(cells[1] ?? '').matchAll(
        /`([a-z]+(?:_[a-z]+)+|status|ps|scale|open|logs|run|versions|rollback|settings|backups)[`:]/g,
      ),
    ].map(([, name]) => name),
  )
  expect(named.length).toBeGreaterThan(35)
  expect(
    named.filter((name) => !name?.startsWith('after_') && !taskFile.includes(`export const ${name} = task(`)),
  ).toEqual([])
})

test('every command of the teams that this was made for is in the table', () => {
  const commands = `login, keys:add, update beta, plugins:install, create --stack, apps:create --manifest, apps:rename,
    git push, git:remote, apps --team, apps:info, addons:add, addons:create, addons:destroy, addons:open,
    deployhooks:irc, deployhooks:email, pgbackups, pg:promote, pg:backups, pg:backups:restore, pg:backups:schedule,
    :schedules, labs:enable, config, config:add, config:set, run CMD, manage.py migrate, manage.py rebuild_index,
    restart, ps:scale, logs, logs -t, open, releases, rollback vN, authorizations:create, foreman start,
    PGBACKUPS_AWS, MAINTENANCE_MODE, openssl rand, pipelines:promote`
  const byHand = rows.map((cells) => cells[0]).join('\n')
  expect(commands.split(/,\s+/).filter((command) => !byHand.includes(command))).toEqual([])
})
