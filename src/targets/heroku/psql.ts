/** SQL in a Heroku database, by the psql of this machine. The URL travels in its environment, never as an argument. */
import { spawn } from 'node:child_process'
import { OutcomeUnknownError, SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { Secret } from '../../shell/secret.ts'

/** libpq's variables for a URL: each part, so that the URL itself is nowhere. */
export function connectionEnvironment(url: string): Record<string, string> {
  const parts = new URL(url)
  const local = parts.hostname === '127.0.0.1' || parts.hostname === 'localhost'
  const query = Object.fromEntries(parts.searchParams)
  return {
    PGHOST: parts.hostname,
    PGPORT: parts.port || '5432',
    PGUSER: decodeURIComponent(parts.username),
    PGPASSWORD: decodeURIComponent(parts.password),
    PGDATABASE: decodeURIComponent(parts.pathname.slice(1)),
    PGSSLMODE: query['sslmode'] ?? (local ? 'prefer' : 'require'),
    PGCONNECT_TIMEOUT: '10',
    PGAPPNAME: 'slipway',
  }
}

/** Runs SQL in one transaction; resolves with the rows' lines (unaligned, tuples only). Parameters: `:'name'`. */
export async function sql(url: string, text: string, values: Readonly<Record<string, string>> = {}): Promise<string[]> {
  currentRun().secrets.add(new Secret(decodeURIComponent(new URL(url).password), 'database password'))
  // \set reads them from standard input, so that no value is an argument.
  const sets = Object.entries(values).map(
    ([name, value]) =>
      `\\set ${name} '${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`,
  )
  const child = spawn('psql', ['-X', '-qAt', '-1', '-v', 'ON_ERROR_STOP=1', '-f', '-'], {
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      PGCLIENTENCODING: 'UTF8',
      ...connectionEnvironment(url),
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString('utf8')))
  child.stdin.on('error', () => undefined)
  child.stdin.end(`${sets.join('\n')}\n${text}\n`)
  const code = await new Promise<number | string>((resolve) => {
    child.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? error.message))
    child.on('close', (status) => resolve(status ?? 'signal'))
  })
  if (code === 0) return out.split('\n').filter((line) => line !== '')
  if (code === 'ENOENT') {
    throw new SlipwayError('no-psql', 'psql is not installed on this machine', {
      state: 'Nothing was changed.',
      next: 'Install the PostgreSQL client: `apt install postgresql-client`, `brew install libpq`.',
    })
  }
  if (/server closed the connection|connection .*(lost|reset)/i.test(err)) {
    throw new OutcomeUnknownError('database-lost', 'the connection to the database was lost', { detail: err.trim() })
  }
  throw new SlipwayError(
    code === 2 ? 'database-unreachable' : 'sql-failed',
    `psql: ${err.trim().split('\n')[0] ?? code}`,
    { detail: err.trim() },
  )
}

/** psql at the terminal. */
export async function psqlShell(url: string): Promise<number> {
  const child = spawn('psql', [], { stdio: 'inherit', env: { ...process.env, ...connectionEnvironment(url) } })
  return new Promise((resolve, reject) => {
    child.on('error', () =>
      reject(
        new SlipwayError('no-psql', 'psql is not installed on this machine', {
          next: 'Install the PostgreSQL client: `apt install postgresql-client`, `brew install libpq`.',
        }),
      ),
    )
    child.on('close', (code) => resolve(code ?? 1))
  })
}
