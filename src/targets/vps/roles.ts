/**
 * The host's own record of which release has which role: `~/.slipway/<app>/roles.json`. It outlives every operator's
 * configuration, and wins where the two disagree. Pure.
 */
import { SlipwayError } from '../../events/errors.ts'
import { releaseName, releaseOf } from './layout.ts'

/** Release names by deployment: `{"production":"pony2026r1","staging":"pony2026r2"}`; `former` was production last. */
export type Roles = Readonly<Record<string, string>>

const former = 'former'

export function parseRoles(text: string): Roles {
  if (text.trim() === '') return {}
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw new SlipwayError('roles-unreadable', "the host's roles.json can't be read", {
      cause,
      detail: text.slice(0, 200),
      state: 'Nothing was changed.',
      next: 'Repair ~/.slipway/<app>/roles.json on the host: it maps deployments to release names.',
    })
  }
  return Object.fromEntries(Object.entries(parsed as object).filter(([, name]) => typeof name === 'string')) as Roles
}

/** One line, with a fixed spacing that the host's shell can read too. */
export const formatRoles = (roles: Roles): string => `${JSON.stringify(roles)}\n`

/** The deployment that a release is, or that it was production before. */
export function roleOf(roles: Roles, release: string): string | undefined {
  for (const [role, name] of Object.entries(roles)) if (role !== former && name === release) return role
  return roles[former] === release ? 'former production' : undefined
}

/** The release of a deployment: as configured, otherwise as the host remembers. */
export function releaseFor(
  deployment: { name: string; release?: string; app: { name: string } },
  roles: Roles,
): string | undefined {
  if (deployment.release !== undefined) return releaseName(deployment.app.name, deployment.release)
  return roles[deployment.name]
}

/** Refuses a change to a release that the host knows in another role. */
export function checkRole(
  deployment: { name: string; app: { name: string } },
  release: string,
  roles: Roles,
  host: string,
): void {
  const role = roleOf(roles, release)
  if (role === undefined || role === deployment.name) return
  const next = nextRelease(releaseOf(deployment.app.name, release))
  throw new SlipwayError(
    'wrong-role',
    role === 'former production'
      ? `${release} was production until the last promotion, and is what undoing goes back to; it can't be deployed to as ${deployment.name}`
      : `${release} is ${role} on ${host}, and the configuration calls it ${deployment.name}`,
    {
      host,
      state: 'Nothing was changed.',
      next:
        deployment.name === 'staging'
          ? `Begin a new release: \`tasks new_staging_release:${next}\`.`
          : `Set [${deployment.name}] release to the release that it is.`,
    },
  )
}

/** `2026r2` → `2026r3`; a name without a number at its end gets one. */
export function nextRelease(release: string): string {
  const match = /^(.*?)(\d+)$/.exec(release)
  return match ? `${match[1]}${Number(match[2]) + 1}` : `${release}-2`
}
