/** The code of one upload: rsync into a version of its own, unchanged files hard-linked against the current one. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import type { DeployOptions } from '../deployment.ts'
import { beginChange, type ChangeOn, owner } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { forgetFacts, noteFacts, withRecord } from './facts.ts'
import { appliedFile } from './migrations.ts'
import { folderStep, requireSecrets } from './release-files.ts'
import { writeRecord } from './server.ts'
import { defaultExcludes, ignoreFile, prepareSource, type Source } from './source.ts'
import { inStep } from './step.ts'
import { type VersionRecord, versionId } from './version.ts'

/** Uploads a new version to every host; the running app is not touched. */
export async function upload(context: VpsContext, options: DeployOptions = {}): Promise<void> {
  await requireSecrets(context)
  const source = await prepareSource(context, options)
  const { gate } = context.deployment.app
  if (gate !== undefined) {
    const { checkGate } = await import('../gate.ts')
    await checkGate(context.config, gate, source)
  }
  const id = versionId(new Date(), source.dirty ? undefined : source.commit)
  await onEach(context.hosts, (host) => uploadTo(context, host, source, id, options))
}

async function uploadTo(
  context: VpsContext,
  host: Host,
  source: Source,
  id: string,
  options: DeployOptions,
): Promise<void> {
  const change = await beginChange(context, host, `deploy ${context.deployment.name}`)
  const { facts, release, guard } = change
  requireRsync(change, host)
  const run = currentRun()
  const me = owner(run)
  const record: VersionRecord = {
    id,
    state: 'uploading',
    wasLive: false,
    commit: source.commit,
    branch: source.branch,
    dirty: source.dirty || undefined,
    by: `${me.user}@${me.machine}`,
    at: new Date().toISOString(),
    deployment: context.deployment.name,
  }
  // The lock is held: whatever else is still "uploading" was left behind by a run that has ended.
  const torn = facts.records.filter((each) => each.state === 'uploading' && each.uploadedAt === undefined)
  await host.script(
    [
      folderStep(context, facts, release),
      ...torn.map((each) => ({ name: `remove the unfinished ${each.id}`, command: removeVersion(change, each.id) })),
      { name: `begin ${id}`, command: sh`mkdir ${release.version(id)}` },
      writeRecord(release, record, 'record it'),
    ],
    { guard, quiet: true },
  )
  const ignore = join(source.dir, ignoreFile)
  try {
    await inStep(`upload ${context.deployment.app.source} to ${release.name}/versions/${id}`, host.name, async () => {
      const result = await host.rsync({
        source: `${source.dir}/`,
        destination: `${release.version(id)}/`,
        exclude: [...defaultExcludes, ignoreFile, ...context.deployment.app.exclude],
        excludeFrom: existsSync(ignore) ? ignore : undefined,
        linkDest: facts.current === undefined ? undefined : release.version(facts.current),
        checksum: source.checksum || undefined,
      })
      return `${result.changed.length} of ${result.files} files sent, ${result.bytesSent} bytes`
    })
  } catch (error) {
    await forgetUpload(context, host, change, id, options)
    throw error
  }
  const uploaded = { ...record, uploadedAt: new Date().toISOString() }
  await host.script([writeRecord(release, uploaded, 'record that all of it is there')], { guard, quiet: true })
  const left = facts.records.filter((each) => !torn.includes(each))
  await noteFacts(context.deployment, host, { records: withRecord(left, uploaded) })
}

/** Takes back what a failed upload left, where the host can still be reached; otherwise the next upload does. */
async function forgetUpload(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  id: string,
  options: DeployOptions,
): Promise<void> {
  forgetFacts(context.deployment, host)
  if (options.keepFailed || currentRun().options.keepFailed || currentRun().signal.aborted) return
  try {
    await host.script([{ name: `remove the unfinished ${id}`, command: removeVersion(change, id) }], {
      guard: change.guard,
      quiet: true,
    })
  } catch {
    // The next upload removes it: its record says that it was never finished.
  }
}

/** Removes a version's folder and records; files that its install made read-only do not stop it. */
export function removeVersion({ release }: Pick<ChangeOn, 'release'>, id: string) {
  return sh`[ "$(readlink ${release.current} 2>/dev/null)" != ${`versions/${id}`} ] || { echo 'this is the current version' >&2; exit 1; }
rm -rf ${release.version(id)} ${release.versionStart(id)} ${release.versionRecord(id)} ${appliedFile(release, id)}`
}

function requireRsync({ facts }: ChangeOn, host: Host): void {
  if (facts.tools.rsync) return
  throw new SlipwayError('no-rsync', `rsync is not installed on ${host.name}`, {
    host: host.name,
    state: 'Nothing was changed.',
    next: 'Install it there: `apt-get install rsync` as root.',
  })
}
