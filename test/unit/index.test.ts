import { expect, it } from 'vitest'
import * as slipway from '../../src/index.ts'
import * as testing from '../../src/testing/index.ts'

it('the public API changes only on purpose', () => {
  expect(Object.keys(slipway).sort()).toMatchInlineSnapshot(`
    [
      "AbortedError",
      "CommandError",
      "ConnectError",
      "FleetError",
      "OutcomeUnknownError",
      "ScriptError",
      "Secret",
      "SlipwayError",
      "StubbedResultError",
      "TimeoutError",
      "UsageError",
      "ask",
      "choice",
      "currentRun",
      "exitWith",
      "flag",
      "host",
      "hosts",
      "local",
      "note",
      "number",
      "param",
      "raw",
      "rest",
      "result",
      "sh",
      "string",
      "task",
      "together",
      "warn",
    ]
  `)
  expect(Object.keys(testing).sort()).toMatchInlineSnapshot(`
    [
      "recordRun",
    ]
  `)
})
