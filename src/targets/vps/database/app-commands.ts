/** What the app's own commands for its database failed of, with what is true then. Pure. */
import { SlipwayError } from '../../../events/index.ts'
import { ScriptError } from '../../../hosts/errors.ts'

/** SQLite, PostgreSQL and MySQL each say it in their own words. */
const says = /No space left on device|disk is full|could not extend file|Errcode: 28|errno: 28/

/** For the end of a message. A shell's own printf says no more than "I/O error". */
export const fullDisk = (said: string | undefined): string =>
  says.test(said ?? '') ? ' (the disk is full)' : /printf: I\/O error/.test(said ?? '') ? ' (is the disk full?)' : ''

/** `error` of a script whose step `migrate: …`, or a hook around it, failed, told as that; other errors as they are. */
export function migrationFailed(error: unknown, deployment: string, state: string): unknown {
  if (!(error instanceof ScriptError) || error.step === undefined) return error
  if (!/^((before|after) )?migrate: /.test(error.step.name)) return error
  const detail = error.detail ?? (`${error.step.stdout}${error.step.stderr}`.trim() || undefined)
  return new SlipwayError('migrate-failed', `${error.step.name} failed on ${error.host}${fullDisk(detail)}`, {
    host: error.host,
    cause: error,
    detail,
    state,
    next: `Correct what it says, and migrate again: \`tasks migrate:release=${deployment}\`.`,
  })
}

/** `init_db` ended with another status than 0; what it said is `cause`'s, or was seen at the terminal. */
export function initFailed(host: string, what: string, cause?: SlipwayError): SlipwayError {
  return new SlipwayError('init-failed', `${what}${fullDisk(cause?.detail)}`, {
    host,
    cause,
    detail: cause?.detail,
    state:
      'What it had made by then may be there, and an app that runs goes on with it; what was there before, if anything, is in the backups.',
    next: 'Correct what it says, and begin again: `tasks init_staging_db:force`.',
  })
}
