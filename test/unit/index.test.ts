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
      "application",
      "ask",
      "choice",
      "currentRun",
      "exitWith",
      "fileSize",
      "flag",
      "host",
      "hosts",
      "local",
      "note",
      "number",
      "onHeroku",
      "onHosts",
      "param",
      "processTable",
      "raw",
      "rest",
      "result",
      "secret",
      "sh",
      "show",
      "statusText",
      "string",
      "table",
      "task",
      "together",
      "versionTable",
      "warn",
    ]
  `)
  expect(Object.keys(testing).sort()).toMatchInlineSnapshot(`
    [
      "fakeHosts",
      "nameTasks",
      "recordRun",
      "sandbox",
    ]
  `)
})
