/**
 * Which schema migrations are applied, kept with each version, and how to take them back: what `rollback --migrate`
 * needs. Always by the code that knows them: the current version's.
 */
import type { AppConfig } from '../../config/types.ts'
import { quote } from '../../shell/index.ts'
import type { ReleaseLayout } from './layout.ts'

type Kind = AppConfig['migrations']

/** Where the list of a version is kept on its host. */
export const appliedFile = (release: ReleaseLayout, id: string): string => `${release.versionRecords}/${id}.migrations`

/** The command that prints what is applied, one a line, oldest first; undefined where nothing is known of migrations. */
export function listCommand(kind: Kind): string | undefined {
  if (kind === 'none') return undefined
  if (kind === 'django') {
    return listed('python3 manage.py showmigrations --plan', `sed -n 's/^\\[X\\]  *\\([^ ]*\\).*/\\1/p'`)
  }
  if (kind === 'alembic') return listed(`${alembic} current`, "awk 'NF { print $1 }'")
  return kind.list
}

/** As a module, alembic is found wherever python3 finds it, and it finds the project. */
const alembic = 'python3 -m alembic'

/** Fails where the command does: nothing said must never read as nothing applied, or going back would drop it all. */
const listed = (command: string, filter: string): string => `list=$(${command}) && printf '%s\\n' "$list" | ${filter}`

/** Prints Django's migrations with when they were applied, in seconds since 1970, in that order. */
export const djangoTimes = `python3 manage.py shell -c 'from django.db.migrations.recorder import MigrationRecorder
for each in MigrationRecorder.Migration.objects.order_by("applied", "id"):
    print(each.app + "." + each.name, each.applied.timestamp())'`

/** Of such a list, what was applied before a time in milliseconds since 1970. */
export const appliedBefore = (text: string, time: number): string[] =>
  appliedNames(text).flatMap((line) => {
    const [name, applied] = line.split(' ')
    return name !== undefined && Number(applied) * 1000 < time ? [name] : []
  })

/** The lines of such a list. */
export const appliedNames = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')

/**
 * The commands that take the schema from what is applied `now` to what was applied `then`; none where it is the same.
 * Django goes back app by app, `app.name` being its lines; alembic to a revision; a command of one's own to a name.
 */
export function reversal(kind: Kind, then: readonly string[], now: readonly string[]): string[] {
  const before = new Set(then)
  const later = now.filter((name) => !before.has(name))
  if (later.length === 0 || kind === 'none') return []
  if (kind === 'alembic') return [`${alembic} downgrade ${quote(then.at(-1) ?? 'base')}`]
  if (kind === 'django') {
    const appOf = (name: string) => name.split('.')[0] as string
    const apps = [...new Set([...later].reverse().map(appOf))]
    return apps.map((app) => {
      const last = then.filter((name) => appOf(name) === app).at(-1)
      return `python3 manage.py migrate --noinput ${quote(app)} ${quote(last?.slice(app.length + 1) ?? 'zero')}`
    })
  }
  return [`${kind.reverse} ${quote(then.at(-1) ?? 'zero')}`]
}
