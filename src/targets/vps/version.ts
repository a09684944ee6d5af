/** Versions of a release: their ids, and the records that say what became of each. Pure. */
import { randomBytes } from 'node:crypto'
import { SlipwayError } from '../../events/errors.ts'
import type { Version } from '../deployment.ts'

/** What `.slipway/versions/<id>.json` holds. */
export interface VersionRecord {
  id: string
  state: Version['state']
  /** Whether it ever was live: what rollback may choose. */
  wasLive: boolean
  /** Set once all of its files are there. */
  uploadedAt?: string
  /** A digest of the tree that was uploaded: names, sizes, times, modes. */
  tree?: string
  installedAt?: string
  liveAt?: string
  commit?: string
  branch?: string
  dirty?: boolean
  by: string
  at: string
  deployment: string
}

/**
 * `20261127-101500-0faab12`: sorts by time (UTC, the last group begins with the milliseconds in hexadecimal, so that
 * two uploads in one second are two versions); then four digits of the commit, or random where the tree has none.
 */
export function versionId(now: Date, commit?: string): string {
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15)
  const milliseconds = now.getUTCMilliseconds().toString(16).padStart(3, '0')
  return `${stamp}-${milliseconds}${commit ? commit.slice(0, 4) : randomBytes(2).toString('hex')}`
}

/** Reads a record; a torn or foreign file is undefined. */
export function parseRecord(json: string): VersionRecord | undefined {
  try {
    const record = JSON.parse(json) as VersionRecord
    return typeof record?.id === 'string' && typeof record.state === 'string' ? record : undefined
  } catch {
    return undefined
  }
}

export const formatRecord = (record: VersionRecord): string => `${JSON.stringify(record)}\n`

/** As the contract shows it. */
export function asVersion(record: VersionRecord, current: string | undefined): Version {
  return {
    id: record.id,
    state: record.state,
    current: record.id === current,
    wasLive: record.wasLive,
    commit: record.commit,
    by: record.by,
    at: record.at,
  }
}

/** Newest first. */
export const newestFirst = (records: readonly VersionRecord[]): VersionRecord[] =>
  [...records].sort((a, b) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0))

/** The version that an install takes: the newest whose files are all there. */
export function installable(records: readonly VersionRecord[]): VersionRecord | undefined {
  return newestFirst(records).find((record) => record.uploadedAt !== undefined && record.state !== 'failed')
}

/** The version that rollback goes to. Throws a SlipwayError where there is none, or `to` may not be chosen. */
export function rollbackTarget(
  records: readonly VersionRecord[],
  current: string | undefined,
  to?: string,
): VersionRecord {
  const live = newestFirst(records).filter((record) => record.wasLive && record.state !== 'failed')
  const choices = live.filter((record) => record.id !== current).map((record) => record.id)
  if (to === undefined) {
    const before = live
      .filter((record) => record.id !== current)
      .sort((a, b) => ((a.liveAt ?? a.id) < (b.liveAt ?? b.id) ? 1 : -1))[0]
    if (before) return before
    throw new SlipwayError('no-rollback', 'there is no earlier version that was live and is still there', {
      state: 'Nothing was changed.',
      next: 'See what there is: `tasks versions`.',
    })
  }
  const matching = records.filter(
    (record) => record.id === to || record.id.startsWith(to) || record.commit?.startsWith(to),
  )
  const [chosen, ...others] = matching
  const detail = choices.length > 0 ? `versions that were live: ${choices.join(', ')}` : undefined
  if (!chosen) {
    throw new SlipwayError('no-version', `there is no version ${to}`, { detail, state: 'Nothing was changed.' })
  }
  if (others.length > 0) {
    throw new SlipwayError(
      'ambiguous-version',
      `"${to}" fits several versions: ${matching.map((r) => r.id).join(', ')}`,
      {
        state: 'Nothing was changed.',
      },
    )
  }
  if (!chosen.wasLive || chosen.state === 'failed') {
    throw new SlipwayError('never-live', `the version ${chosen.id} was never live (it is ${chosen.state})`, {
      detail,
      state: 'Nothing was changed.',
      next: 'Deploy it again, or choose one that was live.',
    })
  }
  if (chosen.id === current) {
    throw new SlipwayError('already-current', `the version ${chosen.id} is the current one`, {
      detail,
      state: 'Nothing was changed.',
    })
  }
  return chosen
}

/**
 * The ids that prune removes. Only versions that were live count toward `keep`; the current one and the one before it
 * always stay, and so does what is newer than the current one. What never was live goes, once it is older than that.
 */
export function prunable(records: readonly VersionRecord[], current: string | undefined, keep: number): string[] {
  const live = newestFirst(records).filter((record) => record.wasLive)
  const currentIndex = live.findIndex((record) => record.id === current)
  const before = currentIndex < 0 ? live[0] : live[currentIndex + 1]
  const kept = new Set([current, before?.id, ...live.slice(0, Math.max(keep, 1)).map((record) => record.id)])
  const newestLive = current ?? live[0]?.id
  return newestFirst(records)
    .filter((record) => !kept.has(record.id) && (newestLive === undefined ? false : record.id < newestLive))
    .map((record) => record.id)
}
