import { expect, test } from 'vitest'
import { appliedNames, reversal } from '../../../src/targets/vps/migrations.ts'

test('Django goes back app by app, the latest first, and to zero where the app was new', () => {
  const then = ['auth.0001_initial', 'riders.0001_initial']
  const now = [...then, 'riders.0002_keys', 'mail.0001_initial', 'mail.0002_more']
  expect(reversal('django', then, now)).toEqual([
    'python3 manage.py migrate --noinput mail zero',
    'python3 manage.py migrate --noinput riders 0001_initial',
  ])
})

test('alembic goes to the revision, a command of one’s own to the last name', () => {
  expect(reversal('alembic', ['ab12'], ['cd34'])).toEqual(['alembic downgrade ab12'])
  expect(reversal('alembic', [], ['cd34'])).toEqual(['alembic downgrade base'])
  expect(reversal({ list: 'l', reverse: 'back --to' }, ['0001'], ['0001', '0002'])).toEqual(['back --to 0001'])
  expect(reversal({ list: 'l', reverse: 'back --to' }, [], ['0001'])).toEqual(['back --to zero'])
})

test('the same schema, or an older one, needs nothing', () => {
  expect(reversal('django', ['a.1', 'a.2'], ['a.1', 'a.2'])).toEqual([])
  expect(reversal('django', ['a.1', 'a.2'], ['a.1'])).toEqual([])
  expect(appliedNames('a\n\n  b \n')).toEqual(['a', 'b'])
})
