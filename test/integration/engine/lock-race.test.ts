import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lockScript, releaseScript } from '../../../src/targets/vps/store/scripts.ts'

let home: string
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'slipway-race-'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

function shell(script: string, shellName = 'sh'): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(shellName, ['-c', script], { env: { HOME: home, PATH: process.env['PATH'] ?? '' } })
    let output = ''
    child.stdout.on('data', (data) => {
      output += data
    })
    child.stderr.on('data', (data) => {
      output += data
    })
    child.on('error', reject)
    child.on('close', () => resolve(output))
  })
}

const take = (run: string, scopes: string[]) =>
  lockScript('pony', {
    run,
    scopes: [...scopes].sort(),
    members: Object.fromEntries(scopes.map((scope) => [scope, `"run":"${run}","scope":"${scope}"`])),
  })

const isIn = (answer: string) => /^taken/m.test(answer)

describe('two runs racing for a lock', () => {
  it('400 times: never both in, never both out', { timeout: 120_000 }, async () => {
    const both = { in: 0, out: 0 }
    for (let round = 0; round < 400; round++) {
      // The shells differ in how fast they start, so that either may win.
      const order = round % 2 === 0 ? ['sh', 'bash'] : ['bash', 'sh']
      const answers = await Promise.all([
        shell(take('a', ['r1', 'r2']), order[0]),
        shell(take('b', round % 3 === 0 ? ['r2'] : ['r2', 'r1']), order[1]),
      ])
      const winners = answers.filter(isIn).length
      if (winners === 2) both.in += 1
      if (winners === 0) both.out += 1
      expect(answers.every((answer) => isIn(answer) || /^locked r[12]\n\{"run":"[ab]"/m.test(answer))).toBe(true)
      await shell(`${releaseScript('pony', 'a', ['r1', 'r2'])}\n${releaseScript('pony', 'b', ['r1', 'r2'])}`)
    }
    expect(both).toEqual({ in: 0, out: 0 })
  })
})
