/**
 * Hosts against the tools that do the same, on servers of its own on loopback: many hosts, streams, rsync, latency.
 * Run by hosts.sh: `bench/hosts.sh [ROUNDS] [NAME…]`, where a name is fleet, one, stream, rsync, large (the last row of
 * rsync alone), latency or memory; prints a Markdown table of medians, and ends with exit status 1 where a bound is
 * missed. With `work NAME …` it is the process that is measured. BENCH_MEGABYTES is the size of what is streamed, 200 by
 * default.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createRun, withRun } from '../src/events/index.ts'
import { host, hosts } from '../src/hosts/index.ts'
import { sh } from '../src/shell/index.ts'
import { clientConfig, type Sshd, startSshd } from '../test/integration/hosts/sshd.ts'

const perServer = 15
const megabytes = Number(process.env['BENCH_MEGABYTES'] ?? 200)

/** One measured piece of work in a process of its own: start-up counts, as it does for the others. */
async function work([name, config, ...rest]: string[]): Promise<void> {
  const run = createRun({ options: { sshConfigFile: config } })
  await withRun(run, () => works[name as string]?.(rest) as Promise<unknown>)
  await run.finish()
  if (process.env.PEAK) writeFileSync(process.env.PEAK, String(process.resourceUsage().maxRSS / 1024))
}

const works: Record<string, (args: string[]) => Promise<unknown>> = {
  fleet: async ([names]) =>
    hosts(
      ...readFileSync(names as string, 'utf8')
        .trim()
        .split('\n'),
    ).each((h) => h.$`true`, { poolSize: 64 }),
  one: async () => host('test').$`true`,
  sequential: async () => {
    for (let index = 0; index < 100; index++) await host('test').$`true`.quiet()
  },
  parallel: async () => Promise.all(Array.from({ length: 200 }, () => host('test').$`true`)),
  capture: async ([file]) => host('test').run(`cat ${file}`, { kind: 'probe', captureBytes: 1e9 }),
  down: async ([file, target]) =>
    pipeline(host('test').run(`cat ${file}`, { kind: 'probe' }).stdout(), createWriteStream(target as string)),
  up: async ([file]) => host('test').upload(file as string, '/dev/shm/slipway-bench-up'),
  /** The seconds that rsync takes over a connection that stands, as it does in a run. */
  sync: async ([source, target]) => {
    await host('test').$`true`
    const startedAt = performance.now()
    await host('test').rsync({ source: source as string, destination: target as string })
    console.log((performance.now() - startedAt) / 1000)
  },
  syncAnd8: async ([source, target]) => {
    await host('test').rsync({ source: source as string, destination: target as string })
    for (let index = 0; index < 8; index++) await host('test').$`true`
  },
  syncAndScript: async ([source, target]) => {
    await host('test').rsync({ source: source as string, destination: target as string })
    await host('test').script(Array.from({ length: 8 }, (_each, index) => ({ name: `s${index}`, command: sh`true` })))
  },
}

interface Contender {
  argv: string[]
  before?: () => void
  env?: Record<string, string>
  /** It says itself how many seconds what counts took. */
  tellsTime?: true
}

interface Comparison {
  name: string
  ours: Contender
  others: Record<string, Contender>
  /** What ours may be of each, as a ratio. */
  limits: Record<string, number>
}

async function compare(rounds: number, only: readonly string[]): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'slipway-bench-hosts-'))
  const servers: Sshd[] = []
  const closers: (() => void)[] = []
  try {
    const main = await startSshd()
    servers.push(main)
    const missed: string[] = []
    console.log(`${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}; medians of ${rounds}, seconds`)
    console.log('| work | ours | against | theirs | ratio | must reach | |\n|---|---:|---|---:|---:|---:|---|')
    for (const comparison of await comparisons(dir, main, servers, closers, only)) {
      const all: Record<string, Contender> = { ours: comparison.ours, ...comparison.others }
      const times: Record<string, number[]> = {}
      for (let round = 0; round < rounds; round++) {
        // Each round begins with another: what one leaves to the disk, the next one pays for.
        const entries = Object.entries(all)
        for (const [name, contender] of [
          ...entries.slice(round % entries.length),
          ...entries.slice(0, round % entries.length),
        ]) {
          contender.before?.()
          const taken = await time(contender)
          times[name] = [...(times[name] ?? []), taken]
        }
      }
      const ours = median(times.ours ?? [])
      for (const [name, limit] of Object.entries(comparison.limits)) {
        const theirs = median(times[name] ?? [])
        const ratio = ours / theirs
        if (ratio > limit) missed.push(`${comparison.name}, against ${name}`)
        console.log(
          `| ${comparison.name} | ${ours.toFixed(3)} | ${name} | ${theirs.toFixed(3)} | ${ratio.toFixed(2)} | ≤ ${Number(limit.toFixed(2))} | ${ratio <= limit ? 'yes' : 'NO'} |`,
        )
      }
    }
    if (only.length === 0 || only.includes('memory')) {
      missed.push(...(await memory(dir, servers)), ...(await streamMemory(dir, main)))
    }
    if (missed.length > 0) console.log(`\nMissed: ${missed.join('; ')}.`)
    process.exitCode = missed.length > 0 ? 1 : 0
  } finally {
    for (const close of closers) close()
    for (const server of servers) await server.stop()
    rmSync(dir, { recursive: true, force: true })
    rmSync('/dev/shm/slipway-bench-up', { force: true })
  }
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number

function time({ argv, env, tellsTime }: Contender): Promise<number> {
  const [program, ...args] = argv as [string, ...string[]]
  const { NODE_EXTRA_CA_CERTS: _certificates, ...inherited } = process.env
  return new Promise((resolve, reject) => {
    const startedAt = performance.now()
    // Not the synchronous spawn: the proxies of the latency rows live in this process.
    execFile(
      program,
      args,
      { env: { ...inherited, ...env }, maxBuffer: 1 << 30, encoding: 'buffer' },
      (error, out, stderr) =>
        error
          ? reject(new Error(`${argv.join(' ')}: ${stderr}`))
          : resolve(tellsTime ? Number(out.toString()) : (performance.now() - startedAt) / 1000),
    )
  })
}

const self = (name: string, config: string, ...args: string[]): string[] => [
  process.execPath,
  process.argv[1] as string,
  'work',
  name,
  config,
  ...args,
]
const has = (program: string) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0

async function comparisons(
  dir: string,
  main: Sshd,
  servers: Sshd[],
  closers: (() => void)[],
  only: readonly string[],
): Promise<Comparison[]> {
  const wanted = (name: string) => only.length === 0 || only.includes(name)
  const list: Comparison[] = []
  const ssh = ['ssh', '-F', main.sshConfigFile, 'test']
  const config = main.sshConfigFile
  const curve = join(dir, 'curve')
  writeFileSync(curve, `KexAlgorithms curve25519-sha256\n${readFileSync(config, 'utf8')}`)

  if (wanted('fleet')) {
    const fleet = await startFleet(dir, 96, servers)
    list.push(fleetComparison(fleet, dir))
  }
  if (wanted('one')) {
    list.push({
      name: 'one `true` on one host',
      ours: { argv: self('one', config) },
      others: { ssh: { argv: [...ssh, 'true'] }, 'ssh, curve25519': { argv: ['ssh', '-F', curve, 'test', 'true'] } },
      limits: { ssh: 0.7, 'ssh, curve25519': 1.1 },
    })
  }
  if (wanted('stream')) {
    const big = join(dir, 'big')
    execFileSync('sh', ['-c', `head -c ${megabytes}M /dev/urandom >${big}`])
    const text = join(dir, 'text')
    execFileSync('sh', ['-c', `base64 /dev/urandom | head -c 31000000 >${text}`])
    const down = join(dir, 'down')
    const shell = (line: string) => ({ argv: ['sh', '-c', line] })
    list.push(
      {
        name: `${megabytes} MB streamed into a file`,
        ours: { argv: self('down', config, big, down) },
        others: { 'ssh host cat': shell(`${ssh.join(' ')} cat ${big} >${down}`) },
        limits: { 'ssh host cat': 1 / 0.9 },
      },
      {
        name: `${megabytes} MB sent as standard input`,
        ours: { argv: self('up', config, big) },
        others: { 'ssh host cat': shell(`${ssh.join(' ')} 'cat >/dev/shm/slipway-bench-up' <${big}`) },
        limits: { 'ssh host cat': 1 / 0.9 },
      },
      {
        name: '31 MB of text captured',
        ours: { argv: self('capture', config, text) },
        others: { 'ssh host cat': shell(`${ssh.join(' ')} cat ${text} >/dev/null`) },
        limits: { 'ssh host cat': 1.2 },
      },
    )
  }
  if (wanted('rsync') || wanted('large')) {
    const rows = rsyncComparisons(dir, main, config)
    list.push(...(wanted('rsync') ? rows : rows.slice(-1)))
  }
  if (wanted('latency')) list.push(...(await latencyComparisons(dir, main, closers)))
  return list
}

interface Fleet {
  config: string
  names: string
  list: string[]
}

async function startFleet(dir: string, size: number, servers: Sshd[], block = 60): Promise<Fleet> {
  const text: string[] = []
  const list: string[] = []
  for (let server = 0; list.length < size; server++) {
    const net = `127.0.${block + server}`
    const addresses = Array.from({ length: perServer }, (_each, index) => `${net}.${index + 1}`)
    const sshd = await startSshd({ address: `${net}.100`, addresses, config: 'MaxStartups 200' })
    servers.push(sshd)
    for (const address of addresses.slice(0, size - list.length)) {
      const name = `node${list.length + 1}`
      list.push(name)
      text.push(clientConfig(name, { ...sshd, address }))
    }
  }
  const config = join(dir, `fleet${size}`)
  writeFileSync(config, text.join(''))
  const names = join(dir, `names${size}`)
  writeFileSync(names, `${list.join('\n')}\n`)
  return { config, names, list }
}

function fleetComparison(fleet: Fleet, dir: string): Comparison {
  const others: Record<string, Contender> = {}
  if (has('fab')) {
    const script = join(dir, 'fleet.py')
    writeFileSync(
      script,
      `import sys, paramiko
from fabric import ThreadingGroup, Config
from paramiko import SSHConfig
config = Config(ssh_config=SSHConfig.from_path(sys.argv[1]))
names = open(sys.argv[2]).read().split()
group = ThreadingGroup(*names, config=config)
result = group.run('true', hide=True)
assert len(result) == len(names)
`,
    )
    others['Fabric ThreadingGroup'] = { argv: ['/usr/bin/python3', script, fleet.config, fleet.names] }
  }
  if (has('pdsh')) {
    others.pdsh = {
      argv: ['pdsh', '-R', 'ssh', '-f', '64', '-w', fleet.list.join(','), 'true'],
      env: { PDSH_SSH_ARGS: `-F ${fleet.config} -a -x %h`, PDSH_SSH_ARGS_APPEND: '' },
    }
  }
  if (has('clush')) {
    others.clush = { argv: ['clush', '-f', '64', '-o', `-F ${fleet.config}`, '-w', fleet.list.join(','), 'true'] }
  }
  if (has('parallel-ssh')) {
    others.pssh = { argv: ['parallel-ssh', '-p', '64', '-x', `-F ${fleet.config}`, '-h', fleet.names, 'true'] }
  }
  if (has('ansible')) {
    const inventory = join(dir, 'inventory')
    writeFileSync(inventory, `${fleet.list.join('\n')}\n`)
    others.Ansible = {
      argv: ['ansible', 'all', '-i', inventory, '-f', '64', '-m', 'raw', '-a', 'true'],
      env: { ANSIBLE_SSH_ARGS: `-F ${fleet.config} -o ControlMaster=no`, ANSIBLE_LOCAL_TEMP: join(dir, 'ansible') },
    }
  }
  const names = Object.keys(others)
  return {
    name: `\`true\` on ${fleet.list.length} hosts`,
    ours: { argv: self('fleet', fleet.config, fleet.names) },
    others,
    limits: Object.fromEntries(names.map((name) => [name, 1])),
  }
}

function rsyncComparisons(dir: string, main: Sshd, config: string): Comparison[] {
  const small = join(dir, 'small')
  for (let folder = 0; folder < 10; folder++) {
    mkdirSync(join(small, String(folder)), { recursive: true })
    for (let file = 0; file < 100; file++)
      writeFileSync(join(small, String(folder), `f${file}`), `${folder} ${file}\n`.repeat(20))
  }
  const big = join(dir, 'one-big')
  mkdirSync(big)
  execFileSync('sh', ['-c', `head -c ${megabytes}M /dev/urandom >${join(big, 'f')}`])
  const socket = join(main.dir, 'cm')
  const master = ['-F', config, '-S', socket]
  execFileSync('ssh', [...master, '-M', '-N', '-f', '-o', 'ControlPersist=600', 'test'], { stdio: 'ignore' })
  const target = join(main.home, 'target')
  const clear = () => rmSync(target, { recursive: true, force: true })
  const rsync = (shell: string, source: string) => ({
    argv: ['rsync', '-rlpt', '-e', shell, `${source}/`, `test:${target}`],
  })
  const row = (name: string, source: string, before: (() => void) | undefined, limit: number): Comparison => ({
    name: `rsync of ${name}`,
    ours: { argv: self('sync', config, `${source}/`, target), before, tellsTime: true },
    others: {
      'rsync over a fresh ssh': { ...rsync(`ssh -F ${config}`, source), before },
      'rsync over a ControlMaster': { ...rsync(`ssh ${master.join(' ')}`, source), before },
    },
    limits: { 'rsync over a fresh ssh': limit, 'rsync over a ControlMaster': 1.1 },
  })
  return [
    row('1,000 small files', small, clear, 0.4),
    row('1,000 small files, nothing changed', small, undefined, 0.3),
    row(`one file of ${megabytes} MB`, big, clear, 0.7),
  ]
}

async function latencyComparisons(dir: string, main: Sshd, closers: (() => void)[]): Promise<Comparison[]> {
  const { port, close } = await delayProxy(main.port, 40)
  closers.push(close)
  const config = join(dir, 'far')
  writeFileSync(config, clientConfig('test', { ...main, port }, `HostKeyAlias [127.0.0.1]:${main.port}`))
  const source = join(dir, 'many')
  mkdirSync(source)
  for (let file = 0; file < 1000; file++) writeFileSync(join(source, `f${file}`), `${file}\n`.repeat(100))
  const target = join(main.home, 'far')
  const clear = () => rmSync(target, { recursive: true, force: true })
  const socket = join(main.dir, 'fm')
  const bare = [
    `ssh -F ${config} -S ${socket} -M -N -f -o ControlPersist=60 test`,
    `rsync -rlpt -e 'ssh -F ${config} -S ${socket}' ${source}/ test:${target}`,
    ...Array.from({ length: 8 }, () => `ssh -F ${config} -S ${socket} test true`),
    `ssh -S ${socket} -O exit test 2>/dev/null`,
  ].join(' && ')
  const others = { 'OpenSSH with a ControlMaster': { argv: ['sh', '-c', bare], before: clear } }
  return [
    {
      name: '40 ms each way: one command',
      ours: { argv: self('one', config) },
      others: { ssh: { argv: ['ssh', '-F', config, 'test', 'true'] } },
      limits: { ssh: 1 },
    },
    {
      name: '40 ms each way: a sync and 8 commands, one by one',
      ours: { argv: self('syncAnd8', config, `${source}/`, target), before: clear },
      others,
      limits: { 'OpenSSH with a ControlMaster': 0.9 },
    },
    {
      name: '40 ms each way: a sync and 8 commands as one script',
      ours: { argv: self('syncAndScript', config, `${source}/`, target), before: clear },
      others,
      limits: { 'OpenSSH with a ControlMaster': 0.6 },
    },
  ]
}

/** Passes bytes on after `ms`, each way, in order. */
async function delayProxy(to: number, ms: number): Promise<{ port: number; close: () => void }> {
  const server = createServer({ noDelay: true }, (here) => {
    const there = connect({ port: to, host: '127.0.0.1', noDelay: true })
    for (const [from, onto] of [
      [here, there],
      [there, here],
    ] as const) {
      from.on('error', () => onto.destroy())
      from.on('data', (chunk) => setTimeout(() => onto.writable && onto.write(chunk), ms))
      from.on('end', () => setTimeout(() => onto.end(), ms))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { port: (server.address() as { port: number }).port, close: () => server.close() }
}

/** Many hosts at once. What of it is over its bound. */
async function memory(dir: string, servers: Sshd[]): Promise<string[]> {
  const missed: string[] = []
  const times: number[] = []
  for (const [size, block] of [
    [96, 100],
    [500, 140],
  ] as const) {
    const fleet = await startFleet(dir, size, servers, block)
    const peak = join(dir, 'peak')
    const seconds = await time({ argv: self('fleet', fleet.config, fleet.names), env: { PEAK: peak } })
    times.push(seconds / size)
    const mb = Number(readFileSync(peak, 'utf8'))
    if (mb > 400) missed.push(`memory at ${size} hosts`)
    console.log(
      `${size} hosts: ${seconds.toFixed(2)} s, ${((seconds / size) * 1000).toFixed(1)} ms a host, peak ${mb.toFixed(0)} MB`,
    )
  }
  const growth = (times[1] as number) / (times[0] as number)
  console.log(`time a host at 500 is ${growth.toFixed(2)} of that at 96 (must reach ≤ 1.2)`)
  if (growth > 1.2) missed.push('time a host at 500')
  return missed
}

/** A stream's memory must not grow with its length: what of it is over its bound. */
async function streamMemory(dir: string, main: Sshd): Promise<string[]> {
  const missed: string[] = []
  const file = join(dir, 'streamed')
  execFileSync('sh', ['-c', `head -c ${megabytes}M /dev/urandom >${file}`])
  for (const [name, what] of [
    ['down', 'streamed into a file'],
    ['up', 'sent as standard input'],
  ] as const) {
    const peak = join(dir, 'peak')
    await time({ argv: self(name, main.sshConfigFile, file, join(dir, 'streamed-here')), env: { PEAK: peak } })
    const mb = Number(readFileSync(peak, 'utf8'))
    if (mb > 150) missed.push(`memory of ${megabytes} MB ${what}`)
    console.log(`${megabytes} MB ${what}: peak ${mb.toFixed(0)} MB (must stay under 150)`)
  }
  return missed
}

if (process.argv[2] === 'work') await work(process.argv.slice(3))
else await compare(Number(process.argv[2] ?? 3), process.argv.slice(3))
