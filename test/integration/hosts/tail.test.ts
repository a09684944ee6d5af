import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RunOptions } from '../../../src/events/index.ts'
import { type Host, host, hosts, type TailLine, tailHosts } from '../../../src/hosts/index.ts'
import { logTime } from '../../../src/hosts/log-time.ts'
import { everyKind, startEveryKind } from './every-kind.ts'
import { failure, type InRun, inRun, until } from './inrun.ts'
import { clientConfig, type Sshd } from './sshd.ts'

let servers: Awaited<ReturnType<typeof startEveryKind>>
let sshd: Sshd
const root = mkdtempSync(join(tmpdir(), 'slipway-tail-'))
let dir: string
let log: string
let count = 0

beforeAll(async () => {
  servers = await startEveryKind()
  sshd = servers.sshd
})
beforeEach(() => {
  dir = join(root, `t${count++}`)
  mkdirSync(dir)
  log = join(dir, 'app.log')
})
afterAll(async () => {
  await servers.stop()
  rmSync(root, { recursive: true, force: true })
})

/** Collects lines in the background. */
function collect(lines: AsyncIterable<TailLine>) {
  const got: TailLine[] = []
  const iterator = lines[Symbol.asyncIterator]()
  const reading = (async () => {
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) got.push(next.value)
  })()
  return {
    got,
    texts: () => got.filter((line) => !line.mark).map((line) => line.text),
    marks: () => got.filter((line) => line.mark).map((line) => line.mark),
    reading,
    stop: async () => {
      await iterator.return?.()
      await reading
    },
  }
}

/** The processes on the host that follow this test's file. */
const followers = () =>
  execFileSync('ps', ['-eo', 'args'])
    .toString()
    .split('\n')
    .filter((line) => line.includes(log) && line.includes('look()')).length

describe.each(everyKind)('following a log, %s', (kind) => {
  const on = <T>(fn: (h: Host, told: InRun) => Promise<T>, more: RunOptions = {}) => servers.on(kind, fn, more)

  it('begins so many lines back, and ends where it is not followed', () =>
    on(async (h) => {
      writeFileSync(log, 'one\ntwo\nthrée\nfour')
      expect(await collected(h.tail(log, { lines: 3, follow: false }))).toEqual(['two', 'thrée', 'four'])
      expect(await collected(h.tail(log, { lines: 0, follow: false }))).toEqual([])
      expect(await collected(h.cd(dir).tail('app.log', { follow: false, grep: '^t' }))).toEqual(['two', 'thrée'])
      expect((await failure(collected(h.tail(join(dir, 'none'), { follow: false })))).code).toBe('file-missing')
    }))

  it('gets lines as they are written, whole ones only', () =>
    on(async (h) => {
      writeFileSync(log, 'old\n')
      const tail = collect(h.tail(log))
      await until(() => tail.texts().length === 1)
      appendFileSync(log, 'new\nhal')
      await until(() => tail.texts().length === 2)
      appendFileSync(log, 'f\n')
      await until(() => tail.texts().length === 3)
      expect(tail.texts()).toEqual(['old', 'new', 'half'])
      await tail.stop()
    }))

  it('loses and repeats nothing when the file is renamed', () =>
    on(async (h) => {
      writeFileSync(log, '')
      const tail = collect(h.tail(log))
      const expected: string[] = []
      const write = (file: string, text: string) => {
        appendFileSync(file, `${text}\n`)
        expected.push(text)
      }
      write(log, 'before 0')
      await until(() => tail.texts().length === 1)
      for (let turn = 0; turn < 3; turn++) {
        for (let line = 0; line < 20; line++) write(log, `before ${turn} ${line}`)
        renameSync(log, `${log}.${turn}`)
        write(`${log}.${turn}`, `still to the old one ${turn}`)
        write(log, `to the new one ${turn}`)
        await until(() => tail.texts().length === expected.length)
      }
      expect(tail.texts()).toEqual(expected)
      expect(tail.marks()).toEqual(['rotated', 'rotated', 'rotated'])
      await tail.stop()
    }))

  it('goes on when the file is truncated: from the copy, or with a gap marked', () =>
    on(async (h) => {
      const long = `${'x'.repeat(100)}\n`
      writeFileSync(log, long)
      const tail = collect(h.tail(log))
      await until(() => tail.texts().length === 1)
      appendFileSync(log, 'in the copy\n')
      copyFileSync(log, `${log}.1`)
      truncateSync(log)
      appendFileSync(log, 'after\n')
      await until(() => tail.texts().includes('after'))
      expect(tail.texts().slice(1)).toEqual(['in the copy', 'after'])
      rmSync(`${log}.1`)
      writeFileSync(log, 'x\n')
      await until(() => tail.texts().at(-1) === 'x')
      expect(tail.marks()).toContain('gap')
      await tail.stop()
    }))

  it('waits for a file that is not there yet', () =>
    on(async (h, told) => {
      const tail = collect(h.tail(log))
      await until(() => told.of('note').length > 0)
      writeFileSync(log, 'first\n')
      await until(() => tail.texts().length === 1)
      expect(tail.texts()).toEqual(['first'])
      await tail.stop()
    }))

  // Not dropbear: what begins as another ends it may lose, and this is made of such.
  it.skipIf(kind === 'dropbear')('leaves nothing running a second after an interrupt, or after the reader stops', () =>
    on(async (h, told) => {
      writeFileSync(log, 'x\n')
      const stopped = collect(h.tail(log))
      await until(() => stopped.got.length === 1 && followers() > 0)
      await stopped.stop()
      await until(() => followers() === 0, 1000)
      const tail = collect(h.tail(log))
      await until(() => tail.got.length === 1 && followers() > 0)
      told.abort()
      await tail.reading
      await until(() => followers() === 0, 1000)
    }),
  )

  it('begins at a moment', () =>
    on(async (h) => {
      const stamp = (minutesAgo: number) =>
        new Date(Date.now() - minutesAgo * 60_000).toISOString().replace('T', ' ').slice(0, 19)
      writeFileSync(log, `${stamp(90)} old\n  its trace\n${stamp(5)} recent\n  its trace\n${stamp(1)} newest\n`)
      const zone = execFileSync('date', ['+%z']).toString().trim()
      expect(zone).toBe('+0000')
      expect((await collected(h.tail(log, { since: '10m', follow: false }))).map((line) => line.slice(-9))).toEqual(
        ['9 recent', 'its trace', '9 newest']
          .map((_text, index) => ['recent', 'its trace', 'newest'][index])
          .map((text) => expect.stringContaining(text as string)),
      )
      expect((await failure(collected(h.tail(log, { since: 'whenever' })))).code).toBe('bad-since')
    }))

  it('follows many files at once', () =>
    on(async (h) => {
      const files = Array.from({ length: 9 }, (_each, index) => join(dir, `f${index}.log`))
      for (const file of files) writeFileSync(file, `${file}\n`)
      const lines: TailLine[] = []
      for await (const line of h.tail(files, { follow: false })) lines.push(line)
      expect(lines.map((line) => line.path).sort()).toEqual(files)
      expect(lines.every((line) => line.text === line.path)).toBe(true)
    }))
})

async function collected(lines: AsyncIterable<TailLine>): Promise<string[]> {
  const texts: string[] = []
  for await (const line of lines) texts.push(line.text)
  return texts
}

it('takes a dropped connection up at the byte where it was cut', async () => {
  const sockets = new Set<Socket>()
  const server = createServer((here) => {
    const there = connect({ host: sshd.address, port: sshd.port })
    for (const socket of [here, there]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    here.pipe(there).pipe(here)
    here.on('close', () => there.destroy())
    there.on('close', () => here.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const sshConfigFile = join(dir, 'config')
  writeFileSync(sshConfigFile, clientConfig('test', { ...sshd, port }, `HostKeyAlias [127.0.0.1]:${sshd.port}`))
  writeFileSync(log, '')
  const expected: string[] = []
  const write = (text: string) => {
    appendFileSync(log, `${text}\n`)
    expected.push(text)
  }
  try {
    await inRun({ sshConfigFile }, async () => {
      const tail = collect(host('test').tail(log))
      write('begun')
      await until(() => tail.texts().length === expected.length)
      for (let turn = 0; turn < 3; turn++) {
        for (let line = 0; line < 50; line++) write(`${turn} ${line}`)
        for (const socket of sockets) socket.destroy()
        write(`while away ${turn}`)
        if (turn === 1) renameSync(log, `${log}.old`)
        write(`after ${turn}`)
        await until(() => tail.texts().length >= expected.length, 10_000)
      }
      expect(tail.texts()).toEqual(expected)
      expect(tail.marks().filter((mark) => mark === 'gap')).toEqual([])
      expect(tail.marks()).toContain('reconnected')
      await tail.stop()
    })
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
  expect(existsSync(log)).toBe(true)
}, 30_000)

it('brings several hosts into one stream, each line with its host', async () => {
  const config = join(dir, 'config')
  writeFileSync(config, ['one', 'two'].map((alias) => clientConfig(alias, sshd)).join(''))
  writeFileSync(log, 'line\n')
  await inRun({ sshConfigFile: config }, async () => {
    const tail = collect(tailHosts(hosts('one', 'two'), log))
    await until(() => tail.texts().length === 2)
    appendFileSync(log, 'more\n')
    await until(() => tail.texts().length === 4)
    expect(tail.got.map((line) => `${line.host} ${line.text}`).sort()).toEqual([
      'one line',
      'one more',
      'two line',
      'two more',
    ])
    await tail.stop()
  })
})

describe('logTime', () => {
  const now = Date.UTC(2026, 10, 27, 12)
  it.each([
    ['2026-11-27 10:15:00,250 INFO x', 60, '2026-11-27T09:15:00.250Z'],
    ['[2026-11-27T10:15:00Z] x', 60, '2026-11-27T10:15:00.000Z'],
    ['2026-11-27 10:15:00 +0200 x', 0, '2026-11-27T08:15:00.000Z'],
    ['2026/11/27 10:15:00 [error] x', 0, '2026-11-27T10:15:00.000Z'],
    ['127.0.0.1 - - [27/Nov/2026:10:15:00 -0100] "GET /"', 0, '2026-11-27T11:15:00.000Z'],
    ['Nov 27 10:15:00 host app: x', 0, '2026-11-27T10:15:00.000Z'],
    ['Dec 31 23:59:59 host app: x', 0, '2025-12-31T23:59:59.000Z'],
  ])('%s', (line, zone, iso) => {
    expect(new Date(logTime(line, zone, now) as number).toISOString()).toBe(iso)
  })
  it('knows no time in a trace', () => {
    expect(logTime('  at run (app.js:1:2)', 0, now)).toBeUndefined()
  })
})
