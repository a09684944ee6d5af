/** Which version is live: `current`, the site's socket and the versions' records, each changed by one rename. */
import type { Host } from '../../hosts/host.ts'
import { type Command, sh } from '../../shell/index.ts'
import type { ChangeOn } from './change.ts'
import type { VpsContext } from './context.ts'
import { forgetFacts, type HostFacts, noteFacts, withRecord } from './facts.ts'
import { program, type ReleaseLayout, type Slot } from './layout.ts'
import { formatRecord, type VersionRecord } from './version.ts'

/** The version that a host serves; where it serves none, the one whose workers run there. */
export function servingVersion({ liveSlot, slotVersions, records }: HostFacts): string | undefined {
  const serving = liveSlot ? slotVersions[liveSlot] : records.find((record) => record.state === 'live')?.id
  return records.some(({ id }) => id === serving) ? serving : undefined
}

/** `id`, with its start script, is current; what was current is failed. */
export async function makeCurrentAgain(context: VpsContext, host: Host, change: ChangeOn, id: string): Promise<void> {
  const { facts, release, guard } = change
  const record = facts.records.find((each) => each.id === facts.current)
  const { settingsBefore } = await import('./release-files.ts')
  await host.script(
    [
      ...backSteps(release, id),
      settingsBefore(release, facts.current ?? ''),
      ...(record ? [writeRecord(release, { ...record, state: 'failed' }, 'mark the version as failed')] : []),
    ],
    { guard, quiet: true },
  )
  forgetFacts(context.deployment, host)
}

export const backSteps = (release: ReleaseLayout, id: string) => [
  {
    name: `the start script of ${id}`,
    command: sh`[ ! -f ${release.versionStart(id)} ] || cp -p ${release.versionStart(id)} ${release.start}`,
  },
  { name: `current → ${id}`, command: switchCurrent(release, id) },
]

/** The records of the versions that going live changes. Pure but for the clock. */
export function liveRecords(facts: HostFacts): { nowLive?: VersionRecord; retired: VersionRecord[] } {
  const live = facts.records.find((record) => record.id === facts.current)
  const now = new Date().toISOString()
  return {
    nowLive: live && {
      ...live,
      state: 'live' as const,
      wasLive: true,
      liveAt: live.state === 'live' ? live.liveAt : now,
    },
    retired: facts.records
      .filter((record) => record.state === 'live' && record.id !== facts.current)
      .map((record) => ({ ...record, state: 'retired' as const })),
  }
}

/** Points the site at the slot by one rename, reads it back, and records that the version is live. */
export async function goLive(context: VpsContext, host: Host, change: ChangeOn, slot: Slot): Promise<void> {
  const { release, facts, guard } = change
  const { nowLive, retired } = liveRecords(facts)
  const link = facts.app.currentSocket(context.deployment.name)
  await host.script(
    [
      { name: `current.sock → ${program(slot)}`, command: replaceLink(release.slotSocket(slot), link) },
      { name: 'a reboot brings it back', command: sh`mkdir -p ${release.wanted}; : > ${release.wanted}/app` },
      ...(nowLive ? [writeRecord(release, nowLive, 'record that it is live')] : []),
      ...retired.map((record) => writeRecord(release, record, `retire ${record.id}`)),
    ],
    { guard, quiet: true },
  )
  await noteLive(context, host, change, slot)
}

/** What going live turned the facts into. */
export async function noteLive(
  { deployment }: VpsContext,
  host: Host,
  { release, facts }: ChangeOn,
  slot: Slot,
): Promise<void> {
  const { nowLive, retired } = liveRecords(facts)
  await noteFacts(deployment, host, {
    liveSlot: slot,
    siteTarget: release.slotSocket(slot),
    slotVersions: { ...facts.slotVersions, ...(facts.current ? { [slot]: facts.current } : {}) },
    records: [...retired, ...(nowLive ? [nowLive] : [])].reduce(withRecord, facts.records),
  })
}

/** Replaces a link by one rename, and reads it back. */
export function replaceLink(target: string, link: string): Command {
  const folder = link.slice(0, link.lastIndexOf('/'))
  return sh`mkdir -p ${folder}
t=${link}.$$; rm -f "$t"; ln -s ${target} "$t"; mv -fT "$t" ${link}
[ "$(readlink ${link})" = ${target} ] || { echo "it points at $(readlink ${link})" >&2; exit 1; }`
}

export const switchCurrent = (release: ReleaseLayout, id: string): Command =>
  replaceLink(`versions/${id}`, release.current)

export function writeRecord(
  release: ReleaseLayout,
  record: VersionRecord,
  name: string,
): { name: string; command: Command } {
  const path = release.versionRecord(record.id)
  return {
    name,
    command: sh`mkdir -p ${release.versionRecords}; printf '%s' ${formatRecord(record)} > ${path}.new; mv -f ${path}.new ${path}`,
  }
}
