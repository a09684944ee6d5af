/** The code of one upload: rsync into a version of its own, unchanged files hard-linked against the current one. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { currentRun, restated, SlipwayError } from '../../events/index.ts'
import { ScriptError } from '../../hosts/errors.ts'
import type { Host, ScriptStep } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import type { DeployOptions } from '../deployment.ts'
import { audited, beginChange, type ChangeOn, owner, tell } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { forgetFacts, noteFacts, withRecord } from './facts.ts'
import { writeRecord } from './live.ts'
import { appliedFile } from './migrations.ts'
import { folderStep, generatedStep, keepGenerated, requireSecrets } from './release-files.ts'
import { defaultExcludes, ignoreFile, prepareSource, type Source } from './source.ts'
import { inStep, lostDuring } from './step.ts'
import { linkFiles, listFiles, listingFile, treeDigest } from './unchanged.ts'
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
  if (options.announce) await tell(context, 'announce', { head: source.commit })
  const id = versionId(new Date(), source.dirty ? undefined : source.commit)
  const ignore = join(source.dir, ignoreFile)
  const tree: Tree = {
    exclude: [...defaultExcludes, ignoreFile, ...context.deployment.app.exclude],
    excludeFrom: existsSync(ignore) ? ignore : undefined,
  }
  // Read while the hosts are connected to. A commit's files have its time: only their content tells whether they changed.
  if (!source.checksum) tree.digest = treeDigest(`${source.dir}/`, tree).catch(() => undefined)
  try {
    const sending = () => onEach(context.hosts, (host) => uploadTo(context, host, source, tree, id, options))
    // The version's own record tells of one that went well, and its install leaves a line.
    await audited(context, 'upload', sending, () => source.commit, 'failures')
  } catch (error) {
    throw lostDuring(
      error,
      'The running app is untouched, and its version is the current one.',
      'Upload again when the host can be reached: what came in half is removed then.',
    )
  }
}

/** What is uploaded of a source, and the digest of it. */
interface Tree {
  exclude: readonly string[]
  excludeFrom?: string
  digest?: Promise<string | undefined>
}

async function uploadTo(
  context: VpsContext,
  host: Host,
  source: Source,
  tree: Tree,
  id: string,
  options: DeployOptions,
): Promise<void> {
  const change = await beginChange(context, host, `deploy ${context.deployment.name}`)
  const { facts, release, guard } = change
  requireRsync(change, host)
  const run = currentRun()
  const me = owner(run)
  const digest = facts.tools.python3 === undefined ? undefined : await tree.digest
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
    tree: digest,
  }
  // The lock is held: whatever else is still "uploading" was left behind by a run that has ended.
  const torn = facts.records.filter((each) => each.state === 'uploading' && each.uploadedAt === undefined)
  const begin = [
    folderStep(context, facts, release),
    ...torn.map((each) => ({ name: `remove the unfinished ${each.id}`, command: removeVersion(change, each.id) })),
    { name: `begin ${id}`, command: sh`mkdir ${release.version(id)}` },
    writeRecord(release, record, 'record it'),
    ...generatedStep(context, facts),
  ]
  const uploaded = { ...record, uploadedAt: new Date().toISOString() }
  const finish = writeRecord(release, uploaded, 'record that all of it is there')
  const left = facts.records.filter((each) => !torn.includes(each))
  const title = `upload ${context.deployment.app.source} to ${release.name}/versions/${id}`
  const before = digest && facts.records.find((each) => each.id === facts.current && each.tree === digest)
  const linked =
    before && !run.options.dryRun && (await linkInstead(context, change, host, before.id, id, title, begin, finish))
  if (!linked) {
    if (!before || run.options.dryRun) {
      const results = await host.script(begin, { guard, quiet: true })
      if (!run.options.dryRun) keepGenerated(context, host, results)
    }
    try {
      await inStep(title, host.name, async () => {
        const result = await host.rsync({
          source: `${source.dir}/`,
          destination: `${release.version(id)}/`,
          exclude: tree.exclude,
          excludeFrom: tree.excludeFrom,
          linkDest: facts.current === undefined ? undefined : release.version(facts.current),
          checksum: source.checksum || undefined,
        })
        if (run.options.dryRun) return undefined
        return `${result.changed.length} of ${result.files} files sent, ${result.bytesSent} bytes`
      })
    } catch (error) {
      const removed = await forgetUpload(context, host, change, id, options)
      throw removed ? untouched(error) : error
    }
    const list = digest ? [{ name: 'list what was uploaded', command: listFiles(release, id), nothrow: true }] : []
    await host.script([...list, finish], { guard, quiet: true })
  }
  await noteFacts(context.deployment, host, { records: withRecord(left, uploaded), folders: [...facts.folders, id] })
}

/** Begins `id` and makes it of links to the files of `from`; false where they are not as they were uploaded. */
async function linkInstead(
  context: VpsContext,
  { release, guard }: ChangeOn,
  host: Host,
  from: string,
  id: string,
  title: string,
  begin: readonly ScriptStep[],
  finish: ScriptStep,
): Promise<boolean> {
  const link = { name: `link what ${from} has`, command: linkFiles(release, from, id) }
  try {
    await inStep(title, host.name, async () => {
      const results = await host.script([...begin, link, finish], { guard, quiet: true })
      keepGenerated(context, host, results)
      return `nothing has changed: ${results[begin.length]?.stdout.trim()} files linked`
    })
    return true
  } catch (error) {
    if (error instanceof ScriptError && error.step?.name === link.name) return false
    throw error
  }
}

/** What is true of a full disk: rsync itself would go on from what it has copied, and here that was removed. */
function untouched(error: unknown): unknown {
  if (!(error instanceof SlipwayError) || error.code !== 'disk-full') return error
  const { host, next } = error
  return restated(
    error,
    'The running app is untouched, and its version is the current one; what had come of the new one was removed.',
    next ?? `Make room there, and do it again: \`slipway ssh ${host}\`, then \`du -xh ~ | sort -h | tail\`.`,
  )
}

/** Takes back what a failed upload left, where the host can still be reached; otherwise the next upload does. */
async function forgetUpload(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  id: string,
  options: DeployOptions,
): Promise<boolean> {
  forgetFacts(context.deployment, host)
  if (options.keepFailed || currentRun().options.keepFailed || currentRun().signal.aborted) return false
  try {
    await host.script([{ name: `remove the unfinished ${id}`, command: removeVersion(change, id) }], {
      guard: change.guard,
      quiet: true,
    })
    return true
  } catch {
    // The next upload removes it: its record says that it was never finished.
    return false
  }
}

/**
 * Removes a version's folder and records; files that its install made read-only do not stop it. Where it is cut short,
 * there is no version of that name that could be gone back to, and its record says what is left to remove.
 */
export function removeVersion({ release }: Pick<ChangeOn, 'release'>, id: string) {
  const going = `${release.versions}/.going-${id}`
  return sh`[ "$(readlink ${release.current} 2>/dev/null)" != ${`versions/${id}`} ] || { echo 'this is the current version' >&2; exit 1; }
[ ! -e ${release.version(id)} ] || { rm -rf ${going}; mv -T ${release.version(id)} ${going}; }
rm -rf ${going}
rm -rf ${release.versionStart(id)} ${release.versionRecord(id)} ${appliedFile(release, id)} ${listingFile(release, id)}`
}

function requireRsync({ facts }: ChangeOn, host: Host): void {
  if (facts.tools.rsync) return
  throw new SlipwayError('no-rsync', `rsync is not installed on ${host.name}`, {
    host: host.name,
    state: 'Nothing was changed.',
    next: 'Install it there: `apt-get install rsync` as root.',
  })
}
