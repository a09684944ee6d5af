import { describe, expect, it } from 'vitest'
import { unifiedDiff } from '../../../src/hosts/diff.ts'
import { humanDuration, milliseconds } from '../../../src/hosts/duration.ts'
import { isTooBroad } from '../../../src/hosts/file-commands.ts'
import { batches } from '../../../src/hosts/group.ts'
import { createReport } from '../../../src/hosts/rsync.ts'
import { parseArguments, remoteCommand } from '../../../src/hosts/rsync-bridge.ts'
import { parseSshConfig } from '../../../src/hosts/ssh-config.ts'

describe('batches', () => {
  const ten = Array.from({ length: 10 }, (_each, index) => index)
  it.each([
    [undefined, [10]],
    [4, [4, 4, 2]],
    ['25%', [3, 3, 3, 1]],
    [
      [1, '30%', '100%'],
      [1, 3, 6],
    ],
    [
      [1, 2],
      [1, 2, 2, 2, 2, 1],
    ],
  ] as const)('%j of ten hosts', (batch, sizes) => {
    expect(batches(ten, batch).map((each) => each.length)).toEqual(sizes)
  })

  it.each([0, -1, '0%', 'many', 1.5])('%j is refused', (batch) => {
    expect(() => batches(ten, batch)).toThrow(/not a batch size/)
  })
})

describe('isTooBroad', () => {
  it.each(['', ' ', '/', '//', '/.', '~', '~/', '~/.', '.', '..', '~/x/..', '/a/../..', '../x', './/'])(
    '%j',
    (path) => {
      expect(isTooBroad(path)).toBe(true)
    },
  )
  it.each(['/srv', '~/app', 'app', './app', '/a/../b'])('not %j', (path) => {
    expect(isTooBroad(path)).toBe(false)
  })
})

describe('milliseconds', () => {
  it.each([
    ['30s', 30_000],
    ['2m', 120_000],
    ['1h30m', 5_400_000],
    ['250ms', 250],
    [17, 17],
  ])('%s', (duration, ms) => {
    expect(milliseconds(duration)).toBe(ms)
  })
  it.each(['', 'soon', '5', '-1s', Number.NaN])('%j is refused', (duration) => {
    expect(() => milliseconds(duration)).toThrow(/not a duration/)
  })
  it('reads back for people', () => {
    expect([300, 12_000, 125_000].map(humanDuration)).toEqual(['0.3 s', '12 s', '2 min 5 s'])
  })
})

describe('unifiedDiff', () => {
  it('shows what changes with three lines around it', () => {
    const before = Array.from({ length: 20 }, (_each, index) => `line ${index + 1}\n`).join('')
    const after = before.replace('line 10\n', 'ten\n').replace('line 20\n', '')
    expect(unifiedDiff(before, after, 'f')).toBe(
      [
        '--- f',
        '+++ f (new)',
        '@@ -7,7 +7,7 @@',
        ' line 7',
        ' line 8',
        ' line 9',
        '-line 10',
        '+ten',
        ' line 11',
        ' line 12',
        ' line 13',
        '@@ -17,4 +17,3 @@',
        ' line 17',
        ' line 18',
        ' line 19',
        '-line 20',
        '',
      ].join('\n'),
    )
  })
  it('is empty where nothing changes', () => {
    expect(unifiedDiff('a\n', 'a\n', 'f')).toBe('')
  })
})

describe('rsync', () => {
  it('reads what was sent and deleted, names with newlines too', () => {
    const report = createReport()
    report.push('<f+++++++++ a b\ncd+++++++++ dir/\n.d..t...... ./\n*deleting   old name\n<f.st...... x\\#012y\r\n')
    report.push(
      'Number of files: 12 (reg: 10, dir: 2)\nTotal file size: 1,234,567 bytes\nTotal transferred file size: 1,000 bytes\n',
    )
    expect(report.result()).toEqual({
      changed: ['a b', 'x\ny'],
      deleted: ['old name'],
      files: 12,
      bytesSent: 1000,
      bytesTotal: 1_234_567,
    })
  })

  it('counts bytes as they go', () => {
    const seen: [number, number | undefined][] = []
    const report = createReport((done, total) => seen.push([done, total]))
    report.push(
      '     65,536  50%    1.00MB/s    0:00:01\r    131,072 100%    1.00MB/s    0:00:01 (xfr#1, to-chk=0/1)\n',
    )
    expect(seen).toEqual([
      [65_536, 131_072],
      [131_072, 131_072],
    ])
  })

  it('takes the bridge’s arguments off the stream, byte for byte', () => {
    expect(parseArguments(Buffer.from('2 spliced\na b\0é'))).toBeUndefined()
    const parsed = parseArguments(Buffer.from('3 spliced\nhost\0a b\0é\0rest'))
    expect(parsed?.words).toEqual(['host', 'a b', 'é'])
    expect(parsed?.rest.toString()).toBe('rest')
    expect(remoteCommand(['-l', 'me', 'host', 'rsync', '--server', '.'])).toBe('rsync --server .')
  })
})

describe('parseSshConfig', () => {
  const surroundings = { home: '/home/me', env: { SSH_AUTH_SOCK: '/run/agent', OTHER: '/run/other' } }
  const parse = (...lines: string[]) => parseSshConfig('web', lines.join('\n'), surroundings)

  it('reads names, files and hops', () => {
    const config = parse(
      'user deploy',
      'hostname web.example.org',
      'port 2222',
      'identityfile ~/.ssh/id_ed25519',
      'identityfile /keys/a b',
      'proxyjump hop1,me@hop2:22',
      'userknownhostsfile /home/me/.ssh/known_hosts ~/.ssh/known_hosts2',
      'stricthostkeychecking accept-new',
      'connecttimeout 7',
    )
    expect(config).toMatchObject({
      user: 'deploy',
      hostName: 'web.example.org',
      port: 2222,
      identityFiles: ['/home/me/.ssh/id_ed25519', '/keys/a b'],
      proxyJump: ['hop1', 'me@hop2:22'],
      userKnownHostsFiles: ['/home/me/.ssh/known_hosts', '/home/me/.ssh/known_hosts2'],
      strictHostKeyChecking: 'accept-new',
      connectTimeoutMs: 7000,
      identityAgent: '/run/agent',
    })
  })

  it.each([
    ['none', undefined],
    ['SSH_AUTH_SOCK', '/run/agent'],
    ['$OTHER', '/run/other'],
    ['~/agent', '/home/me/agent'],
  ])('IdentityAgent %s is %s', (value, socket) => {
    expect(parse(`identityagent ${value}`).identityAgent).toBe(socket)
  })

  it('expands tokens where ssh -G does not', () => {
    const config = parse(
      'user me',
      'hostname h.example',
      'port 7',
      'proxycommand nc %h %p %% %n',
      'identityfile %d/keys/%r@%h',
      'userknownhostsfile ~/known/%k',
    )
    expect(config.proxyCommand).toBe('nc h.example 7 % web')
    expect(config.identityFiles).toEqual(['/home/me/keys/me@h.example'])
    expect(config.userKnownHostsFiles).toEqual(['/home/me/known/h.example'])
  })

  it('takes none for no proxy', () => {
    expect(parse('proxyjump none', 'proxycommand none')).toMatchObject({ proxyJump: [], proxyCommand: undefined })
  })
})
