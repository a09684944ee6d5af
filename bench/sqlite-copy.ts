/**
 * How long a copy of an SQLite database takes on one host, as a backup and a clone make it, against VACUUM INTO and
 * quick_check alone: both as a command of their own, in turns. Run by sqlite-copy.sh: `bench/sqlite-copy.sh [MEGABYTES]
 * [ROUNDS]`. Ours counts the rows, adds up a checksum and syncs besides.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createRun, withRun } from '../src/events/index.ts'
import { local } from '../src/hosts/index.ts'
import { type Command, sh } from '../src/shell/index.ts'
import { copyDatabase } from '../src/targets/vps/database/sqlite.ts'

const megabytes = Number(process.argv[2] ?? 277)
const rounds = Number(process.argv[3] ?? 7)
const dir = mkdtempSync('/tmp/slipway-bench-')
const [source, target] = [join(dir, 'big.sqlite'), join(dir, 'copy.sqlite')]
const python = (code: string, ...words: string[]) => execFileSync('/usr/bin/python3', ['-c', code, ...words])

const fill = `
import hashlib, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute('PRAGMA journal_mode=wal')
db.execute('CREATE TABLE one (id INTEGER PRIMARY KEY, key TEXT, other TEXT, at REAL, body TEXT)')
db.execute('CREATE TABLE two (id INTEGER PRIMARY KEY, key TEXT, body TEXT)')
def rows(factor):
    for i in range(int(sys.argv[2])):
        h = hashlib.md5(str(i * factor).encode()).hexdigest()
        yield i, h, h[::-1], i / 7, h * 6
db.executemany('INSERT INTO one VALUES (?, ?, ?, ?, ?)', rows(1))
db.executemany('INSERT INTO two VALUES (?, ?, ?)', ((a, b, e) for a, b, c, d, e in rows(3)))
db.execute('CREATE INDEX one_key ON one (key)')
db.execute('CREATE INDEX two_key ON two (key)')
db.commit()
db.execute('PRAGMA wal_checkpoint(truncate)')
`
const alone = `
import sqlite3, sys
db = sqlite3.connect('file:' + sys.argv[1] + '?mode=rw', uri=True, isolation_level=None)
db.execute('VACUUM INTO ?', (sys.argv[2],))
db.close()
copied = sqlite3.connect(sys.argv[2])
assert copied.execute('PRAGMA quick_check').fetchall() == [('ok',)]
copied.close()
`

try {
  python(fill, source, String(Math.round(megabytes * 1619)))
  console.log(`database: ${(statSync(source).size / 1e6).toFixed(0)} MB`)
  const times: [number[], number[]] = [[], []]
  const run = async (command: Command) => {
    await withRun(createRun(), () => local().run(command, { quiet: true }))
  }
  for (let round = 0; round < rounds; round++) {
    times[0].push(await timed(() => run(sh`python3 -c ${alone} ${source} ${target}`)))
    times[1].push(await timed(() => run(copyDatabase(source, target))))
  }
  const [base, ours] = times.map(median) as [number, number]
  const ratios = times[0].map((ms, index) => (times[1][index] as number) / ms)
  const list = (all: readonly number[]) => all.map((ms) => `${(ms / 1000).toFixed(2)} s`).join(', ')
  console.log(`VACUUM INTO, quick_check  ${(base / 1000).toFixed(2)} s  (${list(times[0])})`)
  console.log(`ours                      ${(ours / 1000).toFixed(2)} s  (${list(times[1])})`)
  console.log(
    `ratio of the medians ${(ours / base).toFixed(2)}, median of the pairs ${median(ratios).toFixed(2)}; must reach 1.3`,
  )
} finally {
  rmSync(dir, { recursive: true, force: true })
}

async function timed(fn: () => Promise<void>): Promise<number> {
  rmSync(target, { force: true })
  // What the one before has written must not be written in this one's time.
  execFileSync('sync')
  const begun = performance.now()
  await fn()
  return performance.now() - begun
}

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] as number
}
