/** Much data, and what it takes to move it: every cipher, keys renewed on the way, an rsync of another kind. */
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { host } from '../../../src/hosts/index.ts'
import { canPassSockets } from '../../../src/hosts/passed-sockets.ts'
import { limitWindow, windowFor } from '../../../src/hosts/ssh2-packets.ts'
import { failure, inRun } from './inrun.ts'
import { type Sshd, startSshd } from './sshd.ts'
import { arriveWhole, hash } from './whole.ts'

const root = mkdtempSync(join(tmpdir(), 'slipway-bulk-'))
const bytes = randomBytes(6_000_000)

beforeAll(() => {
  mkdirSync(join(root, 'tree'))
  writeFileSync(join(root, 'tree', 'big'), bytes)
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** Remote shells of rsync that are left: those of this test have its PATH. */
function bridges(): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`PATH=${root}/bin-`)
    } catch {
      return false
    }
  })
}

describe.each(['aes128-gcm@openssh.com', 'aes256-ctr', 'chacha20-poly1305@openssh.com'])(
  'over %s, whose keys are renewed every megabyte,',
  (cipher) => {
    let sshd: Sshd
    beforeAll(async () => {
      sshd = await startSshd({ config: `Ciphers ${cipher}\nRekeyLimit 1M` })
    })
    afterAll(() => sshd.stop())

    it('six megabytes arrive whole: as input, as output, and as a tree', () =>
      inRun({ sshConfigFile: sshd.sshConfigFile, projectDir: root }, async () => {
        const h = host('test')
        await arriveWhole(sshd, bytes)
        await h.rsync({ direction: 'down', source: '~/tree/', destination: `back-${cipher}` })
        expect(hash(readFileSync(join(root, `back-${cipher}`, 'big')))).toBe(hash(bytes))
      }))
  },
)

it('has less under way to a host nearby, which would only pile it up', () => {
  expect(windowFor(0.4)).toBe(512 * 1024)
  expect(windowFor(4)).toBe(1024 * 1024)
  // ssh2 counts with it: it must be whole.
  expect(Number.isInteger(windowFor(Math.PI))).toBe(true)
  expect(windowFor(40)).toBeGreaterThan(2_097_152)
  const channel = { outgoing: { window: 2_097_152 } }
  limitWindow(channel, windowFor(40))
  expect(channel.outgoing.window).toBe(2_097_152)
  limitWindow(channel, windowFor(0.4))
  expect(channel.outgoing.window).toBe(512 * 1024)
})

describe('this machine', () => {
  let sshd: Sshd
  const path = process.env.PATH
  const bin = join(root, 'bin')
  beforeAll(async () => {
    sshd = await startSshd()
    mkdirSync(bin)
    for (const program of ['sh', 'cat', 'ssh']) symlinkSync(`/usr/bin/${program}`, join(bin, program))
  })
  afterAll(async () => {
    process.env.PATH = path
    await sshd.stop()
  })
  const copy = () =>
    inRun({ sshConfigFile: sshd.sshConfigFile, projectDir: root }, async (told) => {
      const result = await host('test').rsync({ source: 'tree/', destination: '~/copy' })
      return { result, told }
    })

  it('without rsync says how to get it', async () => {
    process.env.PATH = bin
    const error = await failure(copy())
    process.env.PATH = path
    expect(error).toMatchObject({ code: 'rsync-missing-here', state: 'Nothing was copied.' })
  })

  it.each(['with', 'without'])('%s perl to pass sockets with copies whole, both ways', async (perl) => {
    const own = join(root, `bin-${perl}`)
    mkdirSync(own)
    for (const program of ['sh', 'cat', 'ssh', 'rsync']) symlinkSync(`/usr/bin/${program}`, join(own, program))
    const asked = join(root, 'perl-asked')
    if (perl === 'with') {
      writeFileSync(join(own, 'perl'), `#!/bin/sh\necho asked >>${asked}\nexec /usr/bin/perl "$@"\n`, { mode: 0o755 })
    }
    process.env.PATH = own
    try {
      const there = `~/${perl}/`
      await inRun({ sshConfigFile: sshd.sshConfigFile, projectDir: root }, async () => {
        const h = host('test')
        await h.rsync({ source: 'tree/', destination: there })
        await h.rsync({ direction: 'down', source: there, destination: `back-${perl}` })
        expect(await failure(h.rsync({ direction: 'down', source: '~/none/', destination: 'x' }))).toMatchObject({
          code: 'rsync-source-missing',
        })
      })
    } finally {
      process.env.PATH = path
    }
    expect(hash(readFileSync(join(sshd.home, perl, 'big')))).toBe(hash(bytes))
    expect(hash(readFileSync(join(root, `back-${perl}`, 'big')))).toBe(hash(bytes))
    await vi.waitFor(() => expect(bridges()).toEqual([]), 5000)
    const asks = existsSync(asked) ? readFileSync(asked, 'utf8') : ''
    if (perl === 'with') expect(asks).toBe(canPassSockets ? 'asked\n'.repeat(3) : '')
    else expect(existsSync(join(own, 'perl'))).toBe(false)
  })

  it('leaves nothing that would keep this process, whichever rsync ends first', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length
    const before = timers()
    await inRun({ sshConfigFile: sshd.sshConfigFile, projectDir: root }, async () => {
      for (let round = 0; round < 8; round++) await host('test').rsync({ source: 'tree/', destination: '~/often' })
    })
    await vi.waitFor(() => expect(timers()).toBeLessThanOrEqual(before), 3000)
  })

  it('with an rsync that knows no --info copies without progress', async () => {
    const calls = join(root, 'calls')
    writeFileSync(
      join(bin, 'rsync'),
      `#!/bin/sh
for each; do case $each in --info=*) echo "info" >>${calls}; echo "rsync: $each: unknown option" >&2; exit 1;; esac; done
echo plain >>${calls}
exec /usr/bin/rsync "$@"
`,
    )
    chmodSync(join(bin, 'rsync'), 0o755)
    process.env.PATH = `${bin}:${path}`
    const { result } = await copy()
    process.env.PATH = path
    expect(result.changed).toEqual(['big'])
    expect(readFileSync(calls, 'utf8')).toBe('info\nplain\n')
  })
})
