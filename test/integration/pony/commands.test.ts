import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createPony, type Pony } from '../../servers/pony.ts'

let pony: Pony
beforeEach(async () => {
  pony = await createPony()
})
afterEach(() => pony.remove())

describe('initializing the databases', () => {
  test('makes both, fills them, and keeps the password as a hash', async () => {
    const { stdout } = await pony.command('initialize_db')
    expect(stdout).toContain('initialized')
    const main = await readFile(join(pony.dir, 'shared/db/pony.sqlite'))
    expect(main.subarray(0, 15).toString()).toBe('SQLite format 3')
    expect(main.includes('allons-y')).toBe(false)
    expect(main.includes('organiser@example.org')).toBe(true)
  })

  test('leaves databases that have been initialized as they are', async () => {
    await pony.command('initialize_db')
    const before = await readFile(join(pony.dir, 'shared/db/pony.sqlite'))
    const { stdout } = await pony.command('initialize_db')
    expect(stdout).toContain('left as it is')
    expect(await readFile(join(pony.dir, 'shared/db/pony.sqlite'))).toEqual(before)
    await expect(pony.command('initialize_db', '--new')).rejects.toMatchObject({ code: 3 })
  })

  test('names what it cannot ask for without a terminal, and can be done afterwards', async () => {
    const mute = await createPony({ dir: pony.dir, environment: { PONY_ADMIN_PASSWORD: '', PONY_CLUB_LINK: '' } })
    await expect(mute.command('initialize_db')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('PONY_CLUB_LINK, PONY_ADMIN_PASSWORD'),
    })
    expect((await pony.command('initialize_db')).stdout).toContain('initialized')
  })
})

describe('migrations', () => {
  test('are all applied to a new database, and listed', async () => {
    await pony.command('initialize_db')
    const { stdout } = await pony.command('migrate', '--list')
    expect(stdout.split('\n').filter(Boolean)).toEqual([
      '0001_brevets_and_riders',
      '0002_settings',
      '0003_rider_keys_and_outbox',
    ])
    expect((await pony.command('migrate')).stdout).toContain('nothing to apply: the schema is up to date')
  })

  test('can be taken back and applied again', async () => {
    await pony.command('initialize_db')
    await pony.command('migrate', '--reverse-to', '0002_settings')
    expect((await pony.command('migrate', '--list')).stdout).toBe('0001_brevets_and_riders\n0002_settings\n')
    expect((await pony.command('migrate', '--status')).stdout).toContain('[ ] 0003_rider_keys_and_outbox')
    expect((await pony.command('migrate')).stdout).toBe('applied 0003_rider_keys_and_outbox\n')
  })

  test('refuse a name that there is not, and change nothing', async () => {
    await pony.command('initialize_db')
    await expect(pony.command('migrate', '--reverse-to', '0099')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no migration 0099'),
    })
    expect((await pony.command('migrate', '--list')).stdout).toContain('0003_')
  })

  test('never make a database', async () => {
    await expect(pony.command('migrate')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no database'),
    })
    await expect(readFile(join(pony.dir, 'shared/db/pony.sqlite'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
