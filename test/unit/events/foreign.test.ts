/** What a task file, Node, zx, fetch or a validator throws is told as a sentence, with a next step. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { $ } from 'zx'
import { AbortedError, asSlipwayError, ForeignError, plainWords, SlipwayError } from '../../../src/events/index.ts'

async function thrown(body: () => unknown) {
  try {
    await body()
  } catch (error) {
    return asSlipwayError(error)
  }
  throw new Error('it did not throw')
}

const nothing = undefined as never
const folder = tmpdir()

describe('what was thrown', () => {
  test.each<[string, () => unknown, string, string | RegExp]>([
    ['an Error', () => Promise.reject(new Error('not on Fridays')), 'unexpected', 'not on Fridays'],
    ['an Error without a word', () => Promise.reject(new Error('')), 'unexpected', 'an Error without a message'],
    ['a RangeError', () => Promise.reject(new RangeError('too far')), 'unexpected', 'RangeError: too far'],
    [
      'a property of nothing',
      () => (nothing as { trim(): void }).trim(),
      'unexpected',
      'TypeError: .trim was read of a value that is not set',
    ],
    [
      'a property set on nothing',
      () => {
        ;(nothing as { name: string }).name = 'x'
      },
      'unexpected',
      'TypeError: .name was set on a value that is not set',
    ],
    ['what is no function', () => (nothing as () => void)(), 'unexpected', 'TypeError: nothing is not a function'],
    ['JSON that is none', () => JSON.parse('hello'), 'unexpected', /^SyntaxError: .*not valid JSON$/],
    [
      'an object',
      () => Promise.reject({ odd: 1 }),
      'thrown-no-error',
      'something was thrown that is no Error: {"odd":1}',
    ],
    [
      'nothing',
      () => Promise.reject(undefined),
      'thrown-no-error',
      'something was thrown that is no Error: nothing at all',
    ],
    [
      'a file that is not there',
      () => readFileSync('/nowhere/at/all'),
      'local-file',
      'there is no file or folder /nowhere/at/all',
    ],
    ['a folder read as a file', () => readFileSync(folder), 'local-file', /it is a folder$/],
    [
      'a program that is not there',
      () => promisify(execFile)('no-such-program'),
      'local-program',
      'there is no program no-such-program on this machine',
    ],
    [
      'a program that fails',
      () => promisify(execFile)('sh', ['-c', 'echo why >&2; exit 3']),
      'local-command-failed',
      '`sh -c echo why >&2; exit 3` on this machine ended with status 3',
    ],
    [
      'a command of zx',
      () => $({ quiet: true })`echo why >&2; exit 3`,
      'local-command-failed',
      /on this machine ended with status 3$/,
    ],
    ['a name that is none', () => fetch('http://no-such-host.invalid/'), 'local-request-failed', /^a request failed: /],
    [
      'a time limit',
      () => Promise.reject(new DOMException('The operation was aborted due to timeout', 'TimeoutError')),
      'local-timeout',
      'something in the task took longer than it was given',
    ],
    [
      'a validator',
      () => v.parse(v.object({ port: v.number(), name: v.string() }), { port: 'x' }),
      'local-value',
      /^a value is not as it was expected: port: .*number/,
    ],
    [
      'several at once',
      () => Promise.reject(new AggregateError([new Error('the first'), new Error('the second')])),
      'unexpected',
      'the first',
    ],
    [
      'several that a task has put together',
      () => Promise.reject(new AggregateError([new Error('the first'), new Error('the second')], 'two are ill')),
      'unexpected',
      'two are ill',
    ],
    [
      'CommonJS in a task file',
      () => Promise.reject(new Error('Dynamic require of "fs" is not supported')),
      'unexpected',
      'require("fs") is not there in a task file: write `import … from \'fs\'` at its top',
    ],
  ])('%s', async (_what, body, code, message) => {
    const error = await thrown(body)
    expect(error).toBeInstanceOf(ForeignError)
    expect(error.code).toBe(code)
    if (typeof message === 'string') expect(error.message).toBe(message)
    else expect(error.message).toMatch(message)
    expect(error.next).toMatch(/\S/)
    expect(`${error.message} ${error.detail ?? ''}`).not.toMatch(/\bundefined\b|\[object|ENOENT|EISDIR|fetch failed/)
  })

  test('several that a task has put together, each in its own words', async () => {
    const parts = [new Error('the first'), 'no error']
    const error = await thrown(() => Promise.reject(new AggregateError(parts, 'two are ill')))
    expect(error.detail).toBe('the first\nsomething was thrown that is no Error: no error')
  })

  test('a port where nothing listens', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    await new Promise((resolve) => server.close(resolve))
    expect(await thrown(() => fetch(`http://127.0.0.1:${port}/`))).toMatchObject({
      code: 'local-request-failed',
      message: `a request failed: 127.0.0.1:${port}: nothing listens there`,
    })
  })

  test('a port that is taken', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const error = await thrown(
      () =>
        new Promise((_, reject) => {
          createServer().on('error', reject).listen(port, '127.0.0.1')
        }),
    )
    await new Promise((resolve) => server.close(resolve))
    expect(error).toMatchObject({ code: 'local-network', message: `127.0.0.1:${port}: the port is taken` })
  })

  test('the end of what a command printed is kept', async () => {
    expect((await thrown(() => $({ quiet: true })`echo why >&2; exit 3`)).detail).toBe('why')
  })

  test('what is Slipway’s own stays as it is, and an abort is an interruption', async () => {
    const own = new SlipwayError('own', 'mine')
    expect(asSlipwayError(own)).toBe(own)
    expect(asSlipwayError(new DOMException('This operation was aborted', 'AbortError'))).toBeInstanceOf(AbortedError)
  })

  test('the original is the cause, so that --debug has its stack', async () => {
    const original = new RangeError('too far')
    expect(asSlipwayError(original).cause).toBe(original)
  })

  test('no sentence of the language’s own names a value of it', () => {
    expect(plainWords("Cannot destructure property 'a' of 'given' as it is undefined.")).toBe(
      '.a was read of given, which is not set',
    )
    expect(plainWords('undefined is not iterable')).toBe('a value that is not set is not iterable')
    expect(plainWords('cannot use [object Object]')).toBe('cannot use an object')
  })
})
