/**
 * Whether `tasks` follows a log of many lines a second without losing one, and how long a line takes from being written
 * on the host to standard output here: the built command, over a real sshd. Each line carries its number and the time
 * at which it was written. Run by log-follow.sh: `bench/log-follow.sh [LINES A SECOND] [SECONDS] [ROUNDS]`.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { startSshd } from '../test/servers/sshd.ts'

const rate = Number(process.argv[2] ?? 50_000)
const seconds = Number(process.argv[3] ?? 5)
const rounds = Number(process.argv[4] ?? 3)
const repository = resolve('.')

const writer = `
import os, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
rate, total = int(sys.argv[2]), int(sys.argv[2]) * int(sys.argv[3])
number, begun = 0, time.time()
while number < total:
    due = min(total, int((time.time() - begun) * rate))
    if due > number:
        now = time.time_ns() // 1000
        os.write(file, b''.join(b'line %d %d %s\\n' % (n, now, b'x' * 40) for n in range(number, due)))
        number = due
    time.sleep(0.01)
print(time.time() - begun)
`

const root = mkdtempSync(join(tmpdir(), 'slipway-built-'))
const project = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
const sshd = await startSshd()
try {
  for (const part of ['package.json', 'schemas', 'templates']) {
    if (existsSync(part)) cpSync(part, join(root, part), { recursive: true })
  }
  symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'))
  const { build } = await import('tsdown')
  await build({
    cwd: repository,
    config: 'tsdown.config.ts',
    outDir: join(root, 'dist'),
    dts: false,
    logLevel: 'silent',
  })
  mkdirSync(join(project, 'node_modules'))
  symlinkSync(root, join(project, 'node_modules/slipway'))
  const log = join(sshd.home, 'app.log')
  writeFileSync(
    join(project, 'tasks.ts'),
    `import { host, show, task } from 'slipway'
async function* lines() {
  for await (const line of host('there').tail(${JSON.stringify(log)}, { lines: 0 })) yield { ...line, source: 'app' }
}
export const follow = task({ about: 'Follow it', run: () => show(lines()) })
`,
  )
  for (let round = 1; round <= rounds; round++) await measure(log)
} finally {
  await sshd.stop()
  for (const dir of [root, project]) rmSync(dir, { recursive: true, force: true })
}

async function measure(log: string): Promise<void> {
  writeFileSync(log, '')
  const tasks = spawn(
    process.execPath,
    [
      ...(process.env['BENCH_NODE'] ?? '').split(' ').filter(Boolean),
      join(root, 'dist/bin/tasks.js'),
      '-S',
      sshd.sshConfigFile,
      'follow',
    ],
    {
      cwd: project,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const total = rate * seconds
  const delays = new Float64Array(total)
  let [next, lost, rest] = [0, 0, '']
  let begun: (() => void) | undefined
  let ended: (() => void) | undefined
  const first = new Promise<void>((resolve) => (begun = resolve))
  const last = new Promise<void>((resolve) => (ended = resolve))
  tasks.stdout.setEncoding('latin1').on('data', (chunk: string) => {
    const now = (performance.timeOrigin + performance.now()) * 1000
    const text = rest + chunk
    const end = text.lastIndexOf('\n')
    rest = text.slice(end + 1)
    for (const line of text.slice(0, end).split('\n')) {
      if (line.includes('ready')) begun?.()
      const match = /line (\d+) (\d+) x{40}$/.exec(line)
      if (!match) continue
      const number = Number(match[1])
      lost += Math.abs(number - next)
      next = number + 1
      delays[number] = (now - Number(match[2])) / 1000
    }
    if (next === total) ended?.()
  })
  // Followed from here on: what is written before the follower stands is not its business.
  const ready = setInterval(() => execFileSync('/bin/sh', ['-c', `echo ready >>${log}`]), 300)
  await first
  clearInterval(ready)
  const writing = spawn('/usr/bin/python3', ['-c', writer, log, String(rate), String(seconds)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [took] = (await once(writing.stdout.setEncoding('utf8'), 'data')) as [string]
  await Promise.race([last, new Promise((resolve) => setTimeout(resolve, 15_000).unref())])
  const [, user, system] = /^(?:\S+ ){13}(\d+) (\d+)/.exec(
    readFileSync(`/proc/${tasks.pid}/stat`, 'utf8').replace(/\(.*\)/, '-'),
  ) as RegExpExecArray
  tasks.kill('SIGINT')
  await once(tasks, 'exit')
  lost += total - next
  const sorted = delays.sort()
  const at = (share: number) => `${Math.round(sorted[Math.min(total - 1, Math.floor(total * share))] as number)} ms`
  console.log(
    `${total} lines in ${Number(took).toFixed(1)} s: ${lost} lost; from write to screen ${at(0.5)} in the middle, ${at(0.99)} for 99 of 100, ${at(1)} at most; ${((Number(user) + Number(system)) / 100).toFixed(1)} s of processor time here`,
  )
}
