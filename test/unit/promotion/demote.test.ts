import { expect, it } from 'vitest'
import { StepFailedError } from '../../../src/engine/index.ts'
import { createRun, SlipwayError, withRun } from '../../../src/events/index.ts'
import { noWayBack } from '../../../src/targets/vps/promotion/demote.ts'

const failed = (step: string, why: string, undone = true) =>
  new StepFailedError(step, 'j1', undone, `${step}: ${why}`, { cause: new SlipwayError('host-step-failed', why) })

it.each([
  ['the trial could not reverse it', failed('trial', 'exit status 1: python3 -m pony.migrate --reverse-to 2'), true],
  ['the window could not, and went back', failed('migrate', 'exit status -9: python3 -m pony.migrate'), true],
  ['nobody says how', new SlipwayError('schema-unknown', "it can't be told whether the schema has changed"), true],
  ['the old release is not healthy', failed('trial', 'the app on app-a.sock is not healthy: 404'), false],
  ['something is in its place', failed('trial', "it can't be told whether this was done"), false],
  ['it would take too long', failed('trial', 'requests would wait for about 60 s, and can for 45 s'), false],
  ['the window was over before', failed('migrate', 'the window was open for longer than 45 s'), false],
  ['the disk was full', failed('copy', 'OSError: [Errno 28] No space left on device'), false],
  ['it was not taken back', failed('trial', 'exit status 1: python3 -m pony.migrate', false), false],
])('that the schema can not be reversed is said where that is so: %s', async (_, error, expected) => {
  expect(await withRun(createRun({}), async () => noWayBack(error))).toBe(expected)
})
