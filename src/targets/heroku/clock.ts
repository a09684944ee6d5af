/**
 * A clock process for [app.schedule], as the Scheduler add-on has no API: a script and a line of the Procfile that go
 * with the source, where the app has no clock of its own.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { HerokuConfig } from '../../config/types.ts'
import { quote } from '../../shell/quote.ts'

type Schedule = HerokuConfig['app']['schedule']

const run = promisify(execFile)
const script = 'bin/slipway-clock'

/** `0 2 * * mon-fri` in numbers; `@daily` as its five fields. `@reboot` stays. */
export function numbered(when: string): string {
  const named: Record<string, string> = {
    '@hourly': '0 * * * *',
    '@daily': '0 0 * * *',
    '@weekly': '0 0 * * 0',
    '@monthly': '0 0 1 * *',
    '@yearly': '0 0 1 1 *',
  }
  if (when.startsWith('@')) return named[when] ?? when
  const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
  const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
  return when
    .trim()
    .split(/\s+/)
    .map((field, at) =>
      field.replace(/[a-z]+/gi, (name) => {
        const word = name.slice(0, 3).toLowerCase()
        return String(at === 3 ? months.indexOf(word) + 1 : days.indexOf(word))
      }),
    )
    .join(' ')
}

/** The command of the Procfile; it changes with the schedule, so that what is deployed can be told from what is wanted. */
export const clockCommand = (schedule: Schedule): string =>
  `exec bash ${script} ${createHash('sha256').update(JSON.stringify(schedule)).digest('hex').slice(0, 8)}`

/** Whether the command is a clock that this tool made. */
export const isMadeClock = (command: string): boolean => command.startsWith(`exec bash ${script}`)

/** Whether the deployment leaves its schedule to the Scheduler add-on. */
export const usesScheduler = ({ addons }: HerokuConfig): boolean =>
  Object.entries(addons).some(([name, plan]) => name === 'scheduler' || plan.startsWith('scheduler:'))

/** The script. Heroku's dynos have bash and GNU date. */
export async function clockScript(schedule: Schedule): Promise<string> {
  const entries = Object.entries(schedule)
  const array = (name: string, words: readonly string[]): string =>
    `${name}=(${words.map((word) => quote(word)).join(' ')})`
  const text = await readFile(join(templates(), 'heroku/clock.sh'), 'utf8')
  return text.replace('__ENTRIES__', () =>
    [
      array(
        'names',
        entries.map(([name]) => name),
      ),
      array(
        'times',
        entries.map(([, { when }]) => numbered(when)),
      ),
      array(
        'commands',
        entries.map(([, { command }]) => command),
      ),
    ].join('\n'),
  )
}

/** The tarball with a clock in it; undefined where the app has one, or no Procfile. */
export async function withClock(tarball: Buffer, schedule: Schedule): Promise<Buffer | undefined> {
  const scratch = await mkdtemp(join(tmpdir(), 'slipway-clock-'))
  try {
    const dir = join(scratch, 'source')
    await mkdir(dir)
    await writeFile(join(scratch, 'before.tgz'), tarball)
    await run('tar', ['-xzf', join(scratch, 'before.tgz'), '-C', dir])
    const procfile = await readFile(join(dir, 'Procfile'), 'utf8').catch(() => undefined)
    if (procfile === undefined || /^clock:/m.test(procfile)) return undefined
    await writeFile(join(dir, 'Procfile'), `${procfile.trimEnd()}\nclock: ${clockCommand(schedule)}\n`)
    await mkdir(join(dir, dirname(script)), { recursive: true })
    await writeFile(join(dir, script), await clockScript(schedule))
    await chmod(join(dir, script), 0o755)
    await run('tar', ['-czf', join(scratch, 'after.tgz'), '-C', dir, '.'])
    return await readFile(join(scratch, 'after.tgz'))
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/** The package's templates/: beside src/ or dist/. */
function templates(): string {
  let dir = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(dir, 'templates/heroku'))) {
    if (dir === dirname(dir)) throw new Error('the package has no templates/heroku')
    dir = dirname(dir)
  }
  return join(dir, 'templates')
}
