import { expect, test } from 'vitest'
import { checkRole, nextRelease, parseRoles, releaseFor, roleOf } from '../../../src/targets/vps/roles.ts'

const roles = { production: 'pony2026r2', former: 'pony2026r1' }
const staging = (release: string) => ({ name: 'staging', release, app: { name: 'pony' } })

test('the host says which release production is; staging is what the configuration says', () => {
  expect(releaseFor({ name: 'production', app: { name: 'pony' } }, roles)).toBe('pony2026r2')
  expect(releaseFor(staging('2026r3'), roles)).toBe('pony2026r3')
  expect(releaseFor({ name: 'qa', app: { name: 'pony' } }, roles)).toBeUndefined()
  expect(roleOf(roles, 'pony2026r1')).toBe('former production')
})

test('a release that is production, or was before the last promotion, is not deployed to as staging', () => {
  expect(() => checkRole(staging('2026r2'), 'pony2026r2', roles, 'web1')).toThrow(
    expect.objectContaining({ code: 'wrong-role', next: 'Begin a new release: `tasks new_staging_release:2026r3`.' }),
  )
  expect(() => checkRole(staging('2026r1'), 'pony2026r1', roles, 'web1')).toThrow(/what undoing goes back to/)
  expect(() => checkRole(staging('2026r3'), 'pony2026r3', roles, 'web1')).not.toThrow()
})

test('the next release counts on', () => {
  expect(['2026r2', 'r9', 'beta'].map(nextRelease)).toEqual(['2026r3', 'r10', 'beta-2'])
})

test('no file means no roles, and a broken one is an error', () => {
  expect(parseRoles('')).toEqual({})
  expect(() => parseRoles('{')).toThrow(expect.objectContaining({ code: 'roles-unreadable' }))
})
