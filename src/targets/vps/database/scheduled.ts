/**
 * Backups that the host makes by itself: a script in the release, which the crontab calls. It does what a backup from
 * here does, with the same files and the same manifest.
 */
import type { Host, ScriptStep } from '../../../hosts/host.ts'
import { type Command, sh } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import type { HostFacts } from '../facts.ts'
import type { AppLayout, ReleaseLayout } from '../layout.ts'
import { writeFile } from '../release-files.ts'
import { render } from '../templates.ts'
import { scheduledEngine } from './engines.ts'

/** The script, on a host. */
export const backupScriptFile = (release: ReleaseLayout): string => `${release.bin}/backup`

/** Where a scheduled backup says how it stands: gone after one that went well. */
export const backupNote = (app: AppLayout, deployment: string): string => `${app.backups}/${deployment}.scheduled`

/** Whether this host is the one that makes backups by itself. */
const makesBackups = (context: VpsContext, host: Host): boolean =>
  context.deployment.backups !== undefined &&
  Object.keys(context.deployment.app.databases).length > 0 &&
  context.role('database').first().name === host.name

/**
 * The script, and the steps that put it in place, with the files of the passwords that it needs; undefined where no
 * backups are scheduled.
 */
export async function backupScript(
  context: VpsContext,
  host: Host,
  facts: Pick<HostFacts, 'app'>,
  release: ReleaseLayout,
): Promise<{ file: string; text: string; steps: ScriptStep[] } | undefined> {
  if (!makesBackups(context, host)) return undefined
  const { app, name: deployment, keepBackups } = context.deployment
  const work = `${facts.app.backups}/${deployment}-scheduled.new`
  const databases: { name: string; file: string; kind: string; dump: string }[] = []
  const passwords: ScriptStep[] = []
  for (const name of Object.keys(app.databases)) {
    const { engine, password } = await scheduledEngine(context, release, name)
    if (password !== undefined) passwords.push({ name: `the password of ${name}`, command: password })
    const { fileName: file, kind } = engine
    databases.push({ name, file, kind, dump: engine.dump(`${work}/${file}`).render() })
  }
  const text = await render(context.config.dir, 'backup', {
    release: release.name,
    dir: release.dir,
    backups: facts.app.backups,
    roles: facts.app.roles,
    deployment,
    work,
    keep: keepBackups,
    databases,
    retention: retention(facts.app.backups, deployment, keepBackups).render(),
    hooks: app.hooks.after_backup ?? [],
  })
  const file = backupScriptFile(release)
  return {
    file,
    text,
    steps: [...passwords, { name: 'bin/backup', command: writeFile(file, text, 0o700), writes: { path: file, text } }],
  }
}

/**
 * Removes a deployment's backups but for the newest `keep` of those on schedule, and the newest `keep` of the others:
 * an afternoon of restores must not push out last week's nights.
 */
export const retention = (backups: string, deployment: string, keep: number): Command =>
  sh`scheduled=0; others=0
for old in $(ls -1 ${backups} | grep -Ex ${`${deployment.replaceAll('.', '\\.')}-[0-9]{8}-[0-9]{6}-[0-9a-f]{4}`} | sort -r); do
  [ -f ${backups}/"$old"/manifest.json ] || continue
  if grep -q '"scheduled":true' ${backups}/"$old"/manifest.json; then scheduled=$((scheduled + 1)); nth=$scheduled
  else others=$((others + 1)); nth=$others; fi
  [ "$nth" -le ${String(keep)} ] || rm -rf ${backups}/"$old"
done`
