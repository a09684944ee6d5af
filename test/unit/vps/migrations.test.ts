import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { appliedBefore, appliedNames, listCommand, reversal } from '../../../src/targets/vps/migrations.ts'

test('Django goes back app by app, the latest first, and to zero where the app was new', () => {
  const then = ['auth.0001_initial', 'riders.0001_initial']
  const now = [...then, 'riders.0002_keys', 'mail.0001_initial', 'mail.0002_more']
  expect(reversal('django', then, now)).toEqual([
    'python3 manage.py migrate --noinput mail zero',
    'python3 manage.py migrate --noinput riders 0001_initial',
  ])
})

test('alembic goes to the revision, a command of one’s own to the last name', () => {
  expect(reversal('alembic', ['ab12'], ['cd34'])).toEqual(['python3 -m alembic downgrade ab12'])
  expect(reversal('alembic', [], ['cd34'])).toEqual(['python3 -m alembic downgrade base'])
  expect(reversal({ list: 'l', reverse: 'back --to' }, ['0001'], ['0001', '0002'])).toEqual(['back --to 0001'])
  expect(reversal({ list: 'l', reverse: 'back --to' }, [], ['0001'])).toEqual(['back --to zero'])
})

test('the same schema, or an older one, needs nothing', () => {
  expect(reversal('django', ['a.1', 'a.2'], ['a.1', 'a.2'])).toEqual([])
  expect(reversal('django', ['a.1', 'a.2'], ['a.1'])).toEqual([])
  expect(appliedNames('a\n\n  b \n')).toEqual(['a', 'b'])
})

test('a list that fails is no empty list: going back to nothing would drop everything', () => {
  for (const kind of ['django', 'alembic'] as const) {
    const bin = mkdtempSync('/tmp/slipway-list-')
    writeFileSync(`${bin}/python3`, '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    const listed = spawnSync('/bin/sh', ['-c', listCommand(kind) as string], { env: { PATH: `${bin}:/usr/bin:/bin` } })
    rmSync(bin, { recursive: true })
    expect(listed.status).not.toBe(0)
  }
})

test('Django’s migrations are told apart by when they were applied', () => {
  const text = 'a.0001_initial 1000.5\nb.0001_initial 1001\na.0002_more 2000.25\n'
  expect(appliedBefore(text, 1_500_000)).toEqual(['a.0001_initial', 'b.0001_initial'])
  expect(appliedBefore(text, 1_000)).toEqual([])
})
