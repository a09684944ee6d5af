import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { clockCommand, clockScript, numbered, withClock } from '../../../src/targets/heroku/clock.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-clock-test-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

test('times are written in numbers', () => {
  expect(numbered('0 2 * jan-mar mon-fri')).toBe('0 2 * 1-3 1-5')
  expect(numbered('*/15 8-18 1,15 * Sunday')).toBe('*/15 8-18 1,15 * 0')
  expect(['@hourly', '@weekly', '@reboot'].map(numbered)).toEqual(['0 * * * *', '0 0 * * 0', '@reboot'])
})

test('a time holds as it does for cron', async () => {
  const functions = (await clockScript({})).split('\ntrap ')[0] as string
  // minute hour day month weekday: 02:05 on Friday, the 27th of November.
  const cases: [string, boolean][] = [
    ['* * * * *', true],
    ['5 2 * * *', true],
    ['6 2 * * *', false],
    ['*/5 * * * *', true],
    ['*/7 * * * *', false],
    ['0-10/5 2 * * *', true],
    ['1/4 * * * *', true],
    ['05 02 * 11 *', true],
    ['5 2 * 12 *', false],
    ['5 1,2,3 * * *', true],
    ['* * 27 * *', true],
    ['* * 28 * *', false],
    // Both given: one is enough.
    ['* * 28 * 5', true],
    ['* * 28 * 4', false],
    ['* * * * 1-4', false],
  ]
  const calls = cases.map(([when]) => `due 05 02 27 11 5 ${when} && echo yes || echo no`).join('\n')
  const printed = execFileSync('bash', ['-c', `${functions}\n${calls}`], { encoding: 'utf8' })
    .trim()
    .split('\n')
  expect(cases.map(([when], at) => [when, printed[at] === 'yes'])).toEqual(cases)
  // Sunday is 0 and 7.
  const sundays = ['0', '7', '6-7', '1-6'].map((day) => `due 0 0 1 1 0 '*' '*' '*' '*' ${day} && echo yes || echo no`)
  expect(execFileSync('bash', ['-c', `${functions}\n${sundays.join('\n')}`], { encoding: 'utf8' })).toBe(
    'yes\nyes\nyes\nno\n',
  )
})

test('the clock runs its commands minute by minute, says what they print, and ends on TERM', async () => {
  const bin = join(dir, 'bin')
  mkdirSync(bin)
  // A day's time that passes as fast as it is slept.
  writeFileSync(join(dir, 'now'), String(Date.UTC(2026, 10, 27, 2, 0, 30) / 1000))
  const program = (name: string, text: string): void => {
    writeFileSync(join(bin, name), `#!/bin/bash\n${text}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  program('date', `if [ "$1" = +%s ]; then cat ${dir}/now; else exec /bin/date "$@"; fi`)
  program(
    'sleep',
    `now=$(($(cat ${dir}/now) + $1)); echo $now > ${dir}/now
if ((now >= ${Date.UTC(2026, 10, 27, 2, 5, 0) / 1000})); then kill -TERM $PPID; fi; exec /bin/sleep 0.05`,
  )
  const text = await clockScript({
    often: { when: '*/2 * * * *', command: `echo "it's two minutes"; exit 3` },
    never: { when: '0 3 * * *', command: `touch ${dir}/never` },
    once: { when: '@reboot', command: `echo 'quoted "twice"' > ${dir}/once` },
  })
  writeFileSync(join(dir, 'clock'), text)
  const { stdout, stderr, status } = spawnSync('bash', [join(dir, 'clock')], {
    encoding: 'utf8',
    timeout: 30_000,
    env: { PATH: `${bin}:${process.env['PATH']}` },
  })
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
  expect(stdout).toContain('the clock runs, with 3 scheduled commands')
  // At 02:02 and at 02:04; one that is still at it is not started twice.
  expect(stdout.match(/\[often\] (it's two minutes|still runs)/g)).toHaveLength(2)
  expect(stdout).toContain('[often] exited with status 3')
  expect(readFileSync(join(dir, 'once'), 'utf8')).toBe('quoted "twice"\n')
  expect(() => readFileSync(join(dir, 'never'))).toThrow('ENOENT')
}, 40_000)

test('it goes with the source of an app that has none', async () => {
  const schedule = { nightly: { when: '@daily', command: 'true' } }
  const tarball = (procfile: string): Buffer => {
    const source = mkdtempSync(join(dir, 'source-'))
    writeFileSync(join(source, 'Procfile'), procfile)
    return execFileSync('tar', ['-czf', '-', '-C', source, '.'])
  }
  expect(await withClock(tarball('web: true\nclock: mine\n'), schedule)).toBeUndefined()
  const made = (await withClock(tarball('web: true'), schedule)) as Buffer
  const of = (file: string) => execFileSync('tar', ['-xzOf', '-', file], { input: made, encoding: 'utf8' })
  expect(of('./Procfile')).toBe(`web: true\nclock: ${clockCommand(schedule)}\n`)
  expect(of('./bin/slipway-clock')).toContain("times=('0 0 * * *')")
  expect(clockCommand({ nightly: { when: '@hourly', command: 'true' } })).not.toBe(clockCommand(schedule))
})
