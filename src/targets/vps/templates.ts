/** Renders the files of templates/ for a host. A project's own templates/ comes before the package's. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SlipwayError } from '../../events/errors.ts'
import { quote } from '../../shell/index.ts'
import type { ReleaseLayout } from './layout.ts'
import type { Program } from './programs.ts'

/** The text of template `name` with `data`, without HTML escaping. `q` quotes for the shell. */
export async function render(
  projectDir: string,
  name: string,
  data: Readonly<Record<string, unknown>>,
): Promise<string> {
  const file = findTemplate(projectDir, `${name}.eta`)
  const { Eta } = await import('eta')
  const eta = new Eta({ autoEscape: false, useWith: false })
  return eta.renderString(readFileSync(file, 'utf8'), { ...data, q: quote })
}

function findTemplate(projectDir: string, name: string): string {
  const own = join(projectDir, 'templates', name)
  if (existsSync(own)) return own
  for (let dir = dirname(fileURLToPath(import.meta.url)); ; dir = dirname(dir)) {
    const file = join(dir, 'templates', name)
    if (existsSync(file)) return file
    if (dir === dirname(dir)) break
  }
  throw new SlipwayError('no-template', `there is no template ${name}`, {
    next: 'The package is incomplete: install it again.',
  })
}

/** supervisord reads `%` and ` ;` in values: a path may have neither, and is refused rather than misread. */
function checkSupervisorPath(path: string): void {
  if (!/[%;#"'\n]|\s/.test(path)) return
  throw new SlipwayError('supervisor-path', `supervisord can't have this path in its configuration: ${path}`, {
    state: 'Nothing was changed.',
    next: 'Use an [app] root without spaces, quotes, "%", ";" and "#".',
  })
}

/** `account`: for the system's supervisord, whose programs are to be the account's, and named as no other's. */
export function supervisorData(
  layout: ReleaseLayout,
  programs: readonly Program[],
  account?: { user: string; home: string; prefix: string },
): Record<string, unknown> {
  checkSupervisorPath(layout.dir)
  if (account) checkSupervisorPath(account.home)
  return {
    account,
    prefix: account?.prefix ?? '',
    release: layout.name,
    dir: layout.dir,
    logs: layout.logs,
    socket: layout.supervisorSocket,
    pidfile: layout.supervisorPid,
    startQuoted: layout.start,
    programs,
  }
}

export interface StartFacts {
  app: string
  deployment: string
  layout: ReleaseLayout
  programs: readonly Program[]
  port?: number
}

export function startData({ app, deployment, layout, programs, port }: StartFacts): Record<string, unknown> {
  return {
    app,
    deployment,
    release: layout.name,
    dir: layout.dir,
    environmentFile: `${layout.settings}/${deployment}.environment`,
    // Any number of a worker's processes: scaling them leaves this script as it is.
    cases: programs.map((program) => ({
      ...program,
      pattern: program.slot ? program.name : `${program.of}-[0-9]*`,
    })),
    port,
  }
}
