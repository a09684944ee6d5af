// npm run bench [-- --quick]: the comparisons of docs/performance.md, measured now, on this machine, as a table.
// Exit status 1 where a bound is not kept.

import { spawnSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { median, peakMemory, timeCommands, which } from '../bench/measure.mjs'
import { openPlace } from '../bench/place.mjs'
import { comparisons } from '../bench/rows.mjs'

const quick = process.argv.includes('--quick')
const rounds = quick ? 2 : 6

for (const needed of ['hyperfine', 'ssh', 'rsync']) {
  if (which(needed)) continue
  console.error(`bench: ${needed} is not installed (Debian: apt-get install hyperfine openssh-client rsync)`)
  process.exit(2)
}
const fab = which('/usr/bin/fab') ?? which('fab')
const place = await openPlace()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => void place.close().finally(() => process.exit(130)))
}
const missed = []
try {
  // Where NODE_EXTRA_CA_CERTS is set, Node reads certificates at every start: that would be measured.
  const { NODE_EXTRA_CA_CERTS: _certificates, NODE_OPTIONS: _options, ...inherited } = process.env
  const rows = comparisons(place, fab)
  const env = { ...inherited, XDG_CACHE_HOME: `${place.dir}/cache`, ...rows.env }
  console.log(heading(fab))
  console.log('| work | command | median | against | ratio | must reach | |\n|---|---|---:|---|---:|---|---|')
  for (const row of rows.rows) {
    const times = await timeCommands(row.commands, { rounds, runs: row.runs, warmup: row.warmup, env, cwd: place.dir })
    const medians = Object.fromEntries(Object.entries(times).map(([name, all]) => [name, median(all)]))
    for (const line of row.lines(medians)) console.log(tableLine(row.work, line))
  }
  console.log('\n| peak memory | MB | must stay under | |\n|---|---:|---:|---|')
  for (const [name, { argv, cwd }] of Object.entries(rows.memory)) {
    const peak = peakMemory(argv, { env, cwd: cwd ?? place.dir })
    if (peak === undefined) {
      console.log('| left out: /usr/bin/time is not installed | | | |')
      break
    }
    console.log(`| ${name} | ${peak.toFixed(0)} | 150 | ${verdict(name, peak < 150)} |`)
  }
  if (!fab) console.log('\nLeft out, not installed: Fabric.')
  if (!place.project) console.log('\nLeft out: `tasks --list`, since there is no tasks.ts in the repository.')
} finally {
  await place.close()
}
if (missed.length > 0) console.log(`\nMissed: ${missed.join('; ')}.`)

// Hosts by themselves: many of them, streams, rsync, and latency.
console.log('')
const hosts = spawnSync('sh', [join(import.meta.dirname, '../bench/hosts.sh'), String(quick ? 1 : 5)], {
  stdio: 'inherit',
})
process.exitCode = missed.length > 0 || hosts.status !== 0 ? 1 : 0

function verdict(name, kept) {
  if (!kept) missed.push(name)
  return kept ? 'kept' : '**missed**'
}

function tableLine(work, { command, ms, against, ratio, bound, value, unit = 'ms' }) {
  const time = `${ms < 10 ? ms.toFixed(2) : ms.toFixed(1)} ${unit}`
  const measured = value ?? ratio
  const reach = bound === undefined ? '' : value === undefined ? `≤ ${bound}×` : `≤ ${bound} ${unit}`
  const kept = bound === undefined ? '' : verdict(`${work}: ${command}`, measured <= bound)
  return `| ${work} | ${command} | ${time} | ${against ?? ''} | ${ratio === undefined ? '' : `${ratio.toFixed(2)}×`} | ${reach} | ${kept} |`
}

function heading(fabric) {
  const versionOf = (...argv) => {
    const { stdout, stderr } = spawnSync(argv[0], argv.slice(1), { encoding: 'utf8' })
    return (stdout || stderr).split('\n')[0].trim()
  }
  const system = versionOf('sh', '-c', '. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME" || uname -sr')
  const parts = [
    new Date().toISOString().slice(0, 10),
    system,
    `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown processor'}`,
    `${(totalmem() / 2 ** 30).toFixed(0)} GB`,
    `Node ${process.version}`,
    versionOf('ssh', '-V').split(',')[0],
    versionOf('rsync', '--version').replace(/ {2,}version (\S+).*/, ' $1'),
    ...(fabric ? [versionOf(fabric, '--version')] : []),
    versionOf('hyperfine', '--version'),
  ]
  return `${parts.join(' · ')}\n`
}
