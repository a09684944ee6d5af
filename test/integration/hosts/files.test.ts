import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RunOptions } from '../../../src/events/index.ts'
import { type Host, host } from '../../../src/hosts/index.ts'
import { Secret } from '../../../src/shell/index.ts'
import { everyKind, startEveryKind } from './every-kind.ts'
import { failure, type InRun, inRun, until } from './inrun.ts'
import { clientConfig, type Sshd } from './sshd.ts'

let servers: Awaited<ReturnType<typeof startEveryKind>>
let sshd: Sshd
const root = mkdtempSync(join(tmpdir(), 'slipway-files-'))
let dir: string
let count = 0

beforeAll(async () => {
  servers = await startEveryKind()
  sshd = servers.sshd
})
beforeEach(() => {
  dir = join(root, `t${count++}`)
  mkdirSync(dir)
})
afterAll(async () => {
  await servers.stop()
  rmSync(root, { recursive: true, force: true })
})

describe.each(everyKind)('files, %s', (kind) => {
  const on = <T>(fn: (h: Host, told: InRun) => Promise<T>, more: RunOptions = {}) =>
    servers.on(kind, fn, { projectDir: root, ...more })

  it('are written only when content or mode differ', () =>
    on(async (h, told) => {
      const path = join(dir, "it's a file")
      expect(await h.write(path, 'one\n')).toBe(true)
      expect(statSync(path).mode & 0o777).toBe(0o644)
      expect(await h.write(path, 'one\n')).toBe(false)
      expect(await h.write(path, 'one\n', { mode: 0o600 })).toBe(true)
      expect(await h.write(path, 'two\n')).toBe(true)
      expect(statSync(path).mode & 0o777).toBe(0o600)
      expect(readFileSync(path, 'utf8')).toBe('two\n')
      expect(told.of('changed')).toHaveLength(3)
      expect(execFileSync('ls', ['-A', dir]).toString()).toBe("it's a file\n")
    }))

  it('hold any bytes', () =>
    on(async (h) => {
      const bytes = Buffer.from(Array.from({ length: 70_000 }, (_each, index) => (index * 31) % 256))
      await h.write(join(dir, 'bytes'), bytes)
      expect((await h.readBytes(join(dir, 'bytes'))).equals(bytes)).toBe(true)
      await h.write(join(dir, 'empty'), '')
      expect(await h.read(join(dir, 'empty'))).toBe('')
    }))

  it('of a secret are 0600 and never shown', () =>
    on(async (h, told) => {
      await h.write(join(dir, 'secret'), new Secret('hunter2'))
      expect(statSync(join(dir, 'secret')).mode & 0o777).toBe(0o600)
      expect(JSON.stringify(told.events)).not.toContain('hunter2')
    }))

  it('keep being a symlink', () =>
    on(async (h) => {
      writeFileSync(join(dir, 'real'), 'old')
      symlinkSync('real', join(dir, 'link'))
      await h.write(join(dir, 'link'), 'new')
      expect(readlinkSync(join(dir, 'link'))).toBe('real')
      expect(readFileSync(join(dir, 'real'), 'utf8')).toBe('new')
    }))

  it('are edited as text', () =>
    on(async (h) => {
      const path = join(dir, 'conf')
      expect(await h.edit(path, (text) => `${text}a=1\n`)).toBe(true)
      expect(await h.edit(path, (text) => (text.includes('a=1') ? text : `${text}a=1\n`))).toBe(false)
      writeFileSync(path, Buffer.from([0xff, 0xfe]))
      expect((await failure(h.edit(path, () => 'x'))).code).toBe('file-not-text')
    }))

  it('are rendered from a template, without HTML escaping', () =>
    on(async (h) => {
      writeFileSync(
        join(root, 'site.eta'),
        'name = <%= it.name %>\n<% for (const h of it.hosts) { %>host <%= h %>\n<% } %>end\n',
      )
      const data = { name: '<a&b>', hosts: ['x', 'y'] }
      expect(await h.template('site.eta', join(dir, 'site'), data)).toBe(true)
      expect(await h.template('site.eta', join(dir, 'site'), data)).toBe(false)
      const text = readFileSync(join(dir, 'site'), 'utf8')
      expect(text).toContain('name = <a&b>\n')
      expect(text).toContain('host x\n')
    }))

  it('are relative to the directory; ~ is the home', () =>
    on(async (h) => {
      const there = h.cd(dir)
      await there.write('here', 'x')
      expect(await there.exists('here')).toBe(true)
      expect(await there.cd('no/such').exists('here')).toBe(false)
      const home = await h.home()
      expect(await h.cd('~').probe`pwd -P`.text()).toBe(await h.probe`cd ${home} && pwd -P`.text())
      if (kind !== 'local') {
        await h.write('~/in home', 'x')
        expect(existsSync(join(servers.homeOf(kind), 'in home'))).toBe(true)
        await h.write('relative', 'x')
        expect(existsSync(join(servers.homeOf(kind), 'relative'))).toBe(true)
        await h.remove('~/in home')
      }
    }))

  it('are linked in one rename', () =>
    on(async (h) => {
      mkdirSync(join(dir, 'v1'))
      mkdirSync(join(dir, 'v2'))
      expect(await h.symlink('v1', join(dir, 'current'))).toBe(true)
      expect(await h.symlink('v2', join(dir, 'current'))).toBe(true)
      expect(await h.symlink('v2', join(dir, 'current'))).toBe(false)
      expect(readlinkSync(join(dir, 'current'))).toBe('v2')
      expect(execFileSync('ls', ['-A', join(dir, 'v1')]).toString()).toBe('')
      expect(await h.readlink(join(dir, 'current'))).toBe('v2')
      expect(await h.readlink(join(dir, 'v1'))).toBeUndefined()
      expect((await failure(h.symlink('v2', join(dir, 'v1')))).code).toBe('file-is-directory')
    }))

  it('are made, changed and removed', () =>
    on(async (h) => {
      await h.mkdir(join(dir, 'a/b'), { mode: 0o750 })
      expect(statSync(join(dir, 'a/b')).mode & 0o777).toBe(0o750)
      await h.write(join(dir, 'a/b/-f'), 'x')
      await h.chmod(join(dir, 'a/b/-f'), 0o400)
      expect(statSync(join(dir, 'a/b/-f')).mode & 0o777).toBe(0o400)
      await h.cd(join(dir, 'a/b')).remove('-f')
      await h.remove(join(dir, 'a'), { recursive: true })
      expect(existsSync(join(dir, 'a'))).toBe(false)
      await h.remove(join(dir, 'a'))
      symlinkSync(root, join(dir, 'to-root'))
      await h.remove(join(dir, 'to-root'), { recursive: true })
      expect(existsSync(root)).toBe(true)
    }))

  it.each(['/', '~', '', '..', '~/..', '/./'])('refuse to be removed as %j', (path) =>
    on(async (h) => {
      expect(await failure(h.remove(path, { recursive: true }))).toMatchObject({ code: 'remove-refused', exitCode: 2 })
    }),
  )

  it('fail with a sentence each', () =>
    on(async (h) => {
      expect((await failure(h.read(join(dir, 'none')))).code).toBe('file-missing')
      expect((await failure(h.read(dir))).code).toBe('file-is-directory')
      expect((await failure(h.write(join(dir, 'no/such'), 'x'))).code).toBe('directory-missing')
      expect((await failure(h.write(dir, 'x'))).code).toBe('file-is-directory')
      writeFileSync(join(dir, 'private'), 'x')
      chmodSync(join(dir, 'private'), 0o600)
      chmodSync(root, 0o755)
      expect((await failure(h.as('nobody').read(join(dir, 'private')))).code).toBe('file-denied')
      expect((await failure(h.as('nobody').write(join(dir, 'other'), 'x'))).code).toBe('file-denied')
    }))

  it('say that the disk is full, and leave the old file', () =>
    on(async (h) => {
      const mount = join(dir, 'small')
      mkdirSync(mount)
      try {
        if (kind === 'dropbear') throw new Error('it has its own view of what is mounted')
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount], { stdio: 'ignore' })
      } catch {
        // No right to mount, or not seen there: /dev/full stands in for the disk.
        const error = await failure(h.$`echo x >/dev/full`)
        expect(error.detail).toMatch(/No space left/)
        return
      }
      try {
        await h.write(join(mount, 'f'), 'old')
        const error = await failure(h.write(join(mount, 'f'), 'x'.repeat(300_000)))
        expect(error).toMatchObject({ code: 'disk-full', state: 'It was left as it was.' })
        expect(readFileSync(join(mount, 'f'), 'utf8')).toBe('old')
        expect(execFileSync('ls', ['-A', mount]).toString()).toBe('f\n')
      } finally {
        execFileSync('umount', [mount])
      }
    }))

  it('are compared in a dry run, and shown as a diff', () =>
    on(
      async (h, told) => {
        writeFileSync(join(dir, 'f'), 'a\nb\n')
        expect(await h.write(join(dir, 'f'), 'a\nb\n')).toBe(false)
        expect(await h.write(join(dir, 'f'), 'a\nc\n')).toBe(true)
        expect(await h.write(join(dir, 'g'), new Secret('hunter2'))).toBe(true)
        await h.remove(join(dir, 'f'))
        expect(readFileSync(join(dir, 'f'), 'utf8')).toBe('a\nb\n')
        const held = told.of('held-back')
        expect(held[0]?.diff).toContain('-b\n+c\n')
        expect(held.map((event) => event.display)).toEqual([`write ${dir}/f`, `write ${dir}/g`, `remove ${dir}/f`])
        expect(JSON.stringify(held)).not.toContain('hunter2')
      },
      { dryRun: true },
    ))

  it('go up and come down whole', () =>
    on(async (h) => {
      const bytes = Buffer.alloc(1_500_000, 'abc\0é')
      writeFileSync(join(root, 'big'), bytes, { mode: 0o640 })
      await h.upload('big', join(dir, 'there'))
      expect(readFileSync(join(dir, 'there')).equals(bytes)).toBe(true)
      expect(statSync(join(dir, 'there')).mode & 0o777).toBe(0o640)
      await h.download(join(dir, 'there'), join(dir, 'back'))
      expect(readFileSync(join(dir, 'back')).equals(bytes)).toBe(true)
      expect((await failure(h.download(join(dir, 'none'), join(dir, 'x')))).code).toBe('file-missing')
      expect(existsSync(join(dir, 'x'))).toBe(false)
    }))

  describe('trees', () => {
    const names = [
      'plain',
      'with space',
      "it's",
      '$HOME',
      'a;b',
      'new\nline',
      'é€😀',
      '.dot',
      '-dash',
      'back\\slash',
      '"q"',
    ]
    const tree = (at: string) => {
      mkdirSync(join(at, 'sub dir'), { recursive: true })
      for (const name of names) writeFileSync(join(at, name), name)
      writeFileSync(join(at, 'sub dir/f'), 'x'.repeat(100_000))
      symlinkSync('plain', join(at, 'link'))
    }

    it('arrive the same, both ways, whatever they are called', () =>
      on(async (h, told) => {
        const source = join(dir, 'so urce')
        tree(source)
        const up = await h.rsync({ source: `${source}/`, destination: join(dir, "u'p") })
        expect(up.changed.sort()).toEqual([...names, 'link', 'sub dir/f'].sort())
        expect(up.bytesTotal).toBeGreaterThan(100_000)
        execFileSync('diff', ['-r', '--no-dereference', source, join(dir, "u'p")])
        const down = await h.rsync({
          source: `${join(dir, "u'p")}/`,
          destination: join(dir, 'down'),
          direction: 'down',
        })
        expect(down.changed).toHaveLength(names.length + 2)
        execFileSync('diff', ['-r', '--no-dereference', source, join(dir, 'down')])
        expect((await h.rsync({ source: `${source}/`, destination: join(dir, "u'p") })).changed).toEqual([])
        expect(told.of('progress').length).toBeGreaterThan(0)
        if (kind !== 'local') expect(told.of('host.connected')).toHaveLength(1)
      }))

    it('go four at once over the same connection', () =>
      on(async (h, told) => {
        const source = join(dir, 'source')
        tree(source)
        const copies = ['a', 'b', 'c', 'd'].map((name) => join(dir, name))
        const sent = await Promise.all(copies.map((copy) => h.rsync({ source: `${source}/`, destination: copy })))
        expect(sent.map(({ changed }) => changed.length)).toEqual(copies.map(() => names.length + 2))
        for (const copy of copies) execFileSync('diff', ['-r', '--no-dereference', source, copy])
        if (kind !== 'local') expect(told.of('host.connected')).toHaveLength(1)
      }))

    it('leave out, delete, and hard-link what is unchanged', () =>
      on(async (h) => {
        const source = join(dir, 'source')
        tree(source)
        writeFileSync(join(source, 'x.pyc'), '')
        mkdirSync(join(source, 'node_modules'))
        writeFileSync(join(source, 'node_modules/m'), '')
        writeFileSync(join(root, 'ignore'), '# what stays here\nnode_modules/\n*.log\n')
        writeFileSync(join(source, 'a.log'), '')
        const options = { source: `${source}/`, exclude: ['*.pyc'], excludeFrom: 'ignore' }
        await h.rsync({ ...options, destination: join(dir, 'v1') })
        expect(existsSync(join(dir, 'v1/x.pyc'))).toBe(false)
        expect(existsSync(join(dir, 'v1/node_modules'))).toBe(false)
        expect(existsSync(join(dir, 'v1/a.log'))).toBe(false)
        await h.rsync({ ...options, destination: join(dir, 'v2'), linkDest: join(dir, 'v1') })
        expect(statSync(join(dir, 'v2/plain')).ino).toBe(statSync(join(dir, 'v1/plain')).ino)
        writeFileSync(join(dir, 'v2/extra'), '')
        const planned = await h.rsync({ ...options, destination: join(dir, 'v2'), delete: true, dryRun: true })
        expect(planned.deleted).toEqual(['extra'])
        expect(existsSync(join(dir, 'v2/extra'))).toBe(true)
        expect((await h.rsync({ ...options, destination: join(dir, 'v2'), delete: true })).deleted).toEqual(['extra'])
      }))

    it('are listed in a dry run, and left alone', () =>
      on(
        async (h, told) => {
          tree(join(dir, 'source'))
          const result = await h.rsync({ source: `${join(dir, 'source')}/`, destination: join(dir, 'target') })
          expect(() => result.changed).toThrow(/depends on the result/)
          expect(existsSync(join(dir, 'target'))).toBe(false)
          expect(told.of('held-back')[0]?.diff).toContain('plain\n')
        },
        { dryRun: true },
      ))

    it.each(['/', '~', '', '~/', '.'])('are not deleted into %j', (destination) =>
      on(async (h) => {
        const error = await failure(h.rsync({ source: `${root}/`, destination, delete: true }))
        expect(error.code).toMatch(/^rsync-(delete-refused|empty-path)$/)
      }),
    )

    it('belong to the other user', () =>
      on(async (h) => {
        tree(join(dir, 'source'))
        execFileSync('install', ['-d', '-o', 'nobody', join(dir, 'theirs')])
        chmodSync(root, 0o755)
        await h.as('nobody').rsync({ source: `${join(dir, 'source')}/`, destination: join(dir, 'theirs') })
        expect(lstatSync(join(dir, 'theirs/plain')).uid).toBe(statSync(join(dir, 'theirs')).uid)
      }))

    it('say what is missing', () =>
      on(async (h) => {
        const error = await failure(h.rsync({ source: join(dir, 'none/'), destination: join(dir, 'x') }))
        expect(error.code).toBe('rsync-source-missing')
      }))
  })
})

/**
 * A relay in front of the server that `pass` sees each piece through, on its way there; one that it says false of is
 * not passed on.
 */
async function behindRelay(
  pass: (piece: Buffer, here: Socket, there: Socket) => boolean,
  work: (sshConfigFile: string) => Promise<void>,
): Promise<void> {
  const sockets = new Set<Socket>()
  const server = createServer((here) => {
    const there = connect({ host: sshd.address, port: sshd.port })
    for (const socket of [here, there]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    here.on('data', (piece: Buffer) => {
      if (pass(piece, here, there) && !there.write(piece)) {
        here.pause()
        there.once('drain', () => here.resume())
      }
    })
    there.pipe(here)
    here.on('close', () => there.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const sshConfigFile = join(dir, 'config')
  const { port } = server.address() as { port: number }
  writeFileSync(sshConfigFile, clientConfig('test', { ...sshd, port }, `HostKeyAlias [127.0.0.1]:${sshd.port}`))
  try {
    await work(sshConfigFile)
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
}

/** For `behindRelay`: the connection is cut once, where so many bytes have passed. */
function cutOnce(after: number) {
  let passed = 0
  const cut = {
    times: 0,
    pass(piece: Buffer, here: Socket, there: Socket): boolean {
      passed += piece.length
      if (passed <= after || cut.times > 0) return true
      cut.times++
      here.destroy()
      there.destroy()
      return false
    },
  }
  return cut
}

/** A folder `source` with files of so many bytes that nothing compresses. */
function sourceOf(sizes: Readonly<Record<string, number>>): string {
  const source = join(dir, 'source')
  mkdirSync(source)
  for (const [name, size] of Object.entries(sizes)) writeFileSync(join(source, name), randomBytes(size))
  return source
}

it('goes on copying where a dropped connection stopped it', async () => {
  const cut = cutOnce(3_000_000)
  const source = sourceOf({ f: 8_000_000 })
  await behindRelay(cut.pass, (sshConfigFile) =>
    inRun({ sshConfigFile }, async (told) => {
      await host('test').rsync({ source: `${source}/`, destination: join(dir, 'target') })
      expect(cut.times).toBe(1)
      expect(told.of('warning')[0]?.text).toContain('connecting again to go on copying')
      execFileSync('diff', ['-r', source, join(dir, 'target')])
    }),
  )
})

it('is interrupted in the middle of an upload, over a connection that stands still', async () => {
  let passed = 0
  const stopInTheMiddle = (piece: Buffer, here: Socket): boolean => {
    passed += piece.length
    if (passed > 8_000_000) here.pause()
    return passed <= 8_000_000
  }
  const source = sourceOf({ f: 60_000_000 })
  await behindRelay(stopInTheMiddle, async (sshConfigFile) => {
    const error = await failure(
      inRun({ sshConfigFile }, async (told) => {
        const copying = host('test').rsync({ source: `${source}/`, destination: join(dir, 'target') })
        copying.catch(() => {})
        await until(() => passed > 8_000_000)
        told.abort()
        await copying
      }),
    )
    expect(['AbortError', 'AbortedError']).toContain(error.name)
  })
  expect(existsSync(join(dir, 'target/f'))).toBe(false)
})

describe('by SFTP, where there is no rsync', () => {
  const standIn = () => join(sshd.dir, 'bin/rsync')
  beforeEach(() => {
    mkdirSync(join(sshd.dir, 'bin'), { recursive: true })
    writeFileSync(standIn(), "#!/bin/sh\necho 'sh: 1: rsync: not found' >&2; exit 127\n")
    chmodSync(standIn(), 0o755)
    mkdirSync(join(dir, 'tmp'))
    vi.stubEnv('TMPDIR', join(dir, 'tmp'))
  })
  afterEach(() => {
    vi.unstubAllEnvs()
    rmSync(standIn())
  })

  const ways = { up: 3_000_000, down: 20_000 }
  it.each(Object.entries(ways))('goes on copying %s where a dropped connection stopped it', async (way, bytes) => {
    const cut = cutOnce(bytes)
    const source = sourceOf({ f: 8_000_000, g: 8_000_000, small: 10 })
    await behindRelay(cut.pass, (sshConfigFile) =>
      inRun({ sshConfigFile }, async (told) => {
        const direction = way as keyof typeof ways
        const options = { direction, delete: true } as const
        await host('test').rsync({ source: `${source}/`, destination: join(dir, 'target'), ...options })
        expect(cut.times).toBe(1)
        expect(told.of('note')[0]?.text).toContain('goes by SFTP')
        expect(told.of('warning')[0]?.text).toContain('connecting again to go on copying')
        execFileSync('diff', ['-r', source, join(dir, 'target')])
      }),
    )
    expect(readdirSync(join(dir, 'tmp'))).toEqual([])
  })

  it('says that the connection was lost where it cannot be had again', async () => {
    const source = sourceOf({ f: 8_000_000 })
    let passed = 0
    const cutEach = (piece: Buffer, here: Socket, there: Socket): boolean => {
      passed += piece.length
      if (passed <= 3_000_000) return true
      passed = 0
      here.destroy()
      there.destroy()
      return false
    }
    await behindRelay(cutEach, (sshConfigFile) =>
      inRun({ sshConfigFile }, async (told) => {
        const error = await failure(host('test').rsync({ source: `${source}/`, destination: join(dir, 'target') }))
        expect(error).toMatchObject({ code: 'connection-lost', host: 'test' })
        expect(told.of('warning')).toHaveLength(3)
      }),
    )
  })

  it('is interrupted in the middle of a long file, and takes away what is there of it', async () => {
    const source = sourceOf({ f: 60_000_000 })
    let passed = 0
    let interrupt = () => {}
    const interruptInTheMiddle = (piece: Buffer): boolean => {
      passed += piece.length
      if (passed > 8_000_000) interrupt()
      return true
    }
    await behindRelay(interruptInTheMiddle, async (sshConfigFile) => {
      const error = await failure(
        inRun({ sshConfigFile }, async (told) => {
          interrupt = () => told.abort()
          await host('test')
            .rsync({ source: `${source}/`, destination: join(dir, 'target') })
            .finally(() => expect(told.of('step.finished').at(-1)?.outcome).toBe('aborted'))
        }),
      )
      expect(error.code).toBe('aborted')
    })
    expect(readdirSync(join(dir, 'target'))).toEqual([])
  })

  it('is interrupted in the middle of one long file that it fetches, over a connection that stands still', async () => {
    const source = join(sourceOf({ f: 60_000_000 }), 'f')
    let passed = 0
    const stopInTheMiddle = (piece: Buffer, here: Socket): boolean => {
      passed += piece.length
      if (passed > 40_000) here.pause()
      return passed <= 40_000
    }
    await behindRelay(stopInTheMiddle, async (sshConfigFile) => {
      const error = await failure(
        inRun({ sshConfigFile }, async (told) => {
          const copying = host('test').rsync({ source, destination: join(dir, 'target'), direction: 'down' })
          copying.catch(() => {})
          await until(() => passed > 40_000)
          told.abort()
          await copying.finally(() => expect(told.of('step.finished').at(-1)?.outcome).toBe('aborted'))
        }),
      )
      expect(error.code).toBe('aborted')
    })
    expect(existsSync(join(dir, 'target'))).toBe(false)
    expect(readdirSync(join(dir, 'tmp'))).toEqual([])
  })

  it('ends with the first file that fails, and with what it was while others are under way', async () => {
    const source = sourceOf({ f: 60_000_000, g: 10 })
    mkdirSync(join(dir, 'target/g'), { recursive: true })
    writeFileSync(join(dir, 'target/g/in the way'), '')
    await inRun({ sshConfigFile: sshd.sshConfigFile }, async () => {
      const error = await failure(host('test').rsync({ source: `${source}/`, destination: join(dir, 'target') }))
      expect(error.message).toBe('Failure')
    })
    expect(readdirSync(join(dir, 'target'))).toEqual(['g'])
  })
})
