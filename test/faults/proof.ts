/**
 * `npm run test:faults -- --proof`: the promotion's promises, measured. 32 connections of a client that never retries,
 * through a promotion of a database of 277 MB, to 100,000 requests; then what the ledger says.
 *   --requests 100000   --megabytes 277
 */
import { parseArgs } from 'node:util'
import { promote } from '../../src/targets/vps/promotion/index.ts'
import { journalText } from './inject.ts'
import { audit } from './load.ts'
import { mailsLost, makeWorld, marksIn } from './world.ts'

const { values } = parseArgs({
  options: {
    proof: { type: 'boolean' },
    requests: { type: 'string', default: '100000' },
    megabytes: { type: 'string', default: '277' },
  },
})
const wanted = Number(values.requests)
const world = await makeWorld({ fillMegabytes: Number(values.megabytes) })
try {
  const load = world.load({ connections: 32 })
  await load.reached(Math.round(wanted * 0.4))
  const promotion = await world.run((from, to) => promote(from, to))
  await load.reached(wanted)
  const client = await load.stop()
  const writes = audit(client, marksIn(world, 'pony2026r2'))
  const jobs = await mailsLost(world, 'pony2026r2', ['pony2026r1'], client.acknowledged)
  const windowMs = promotion?.windowMs ?? Number.NaN
  const predictedMs = promotion?.predictedMs ?? Number.NaN
  const rows: [string, string | number, boolean][] = [
    ['requests', client.requests, client.requests >= wanted],
    ['failed', client.failed.length, client.failed.length === 0],
    ['acknowledged writes', client.acknowledged.length, client.acknowledged.length > 0],
    ['of them missing', writes.missing.length, writes.missing.length === 0],
    ['of them there twice', writes.twice.length, writes.twice.length === 0],
    ['queued jobs lost', jobs.lost.length, jobs.lost.length === 0],
    ['queued jobs run twice', jobs.twice.length, jobs.twice.length === 0],
    ['window, s', (windowMs / 1000).toFixed(2), windowMs < 2000],
    ['window as predicted, s', (predictedMs / 1000).toFixed(2), Math.abs(predictedMs - windowMs) <= 0.3 * windowMs],
    ['longest wait, s', (client.longestMs / 1000).toFixed(2), client.longestMs <= windowMs + 500],
    ['requests a second', Math.round(client.requests / (client.durationMs / 1000)), true],
  ]
  console.log(`| what | measured | as promised |\n|---|---|---|`)
  for (const [what, value, kept] of rows) console.log(`| ${what} | ${value} | ${kept ? 'yes' : 'NO'} |`)
  console.log(
    `\n${JSON.stringify(promotion?.times)}\n${JSON.stringify(client.releases)}\n${JSON.stringify(client.failed.slice(0, 5))}`,
  )
  console.log(
    journalText(world)
      .split('\n')
      .find((line) => line.includes('"step":"trial"') && line.includes('startMs')),
  )
  console.log(
    /"copyMs".*"parts":\{[^}]*\}/.exec(
      journalText(world)
        .split('\n')
        .findLast((line) => line.includes('"parts"')) ?? '',
    )?.[0],
  )
  process.exitCode = rows.every(([, , kept]) => kept) ? 0 : 1
} finally {
  await world.remove()
}
process.exit()
