/** ssh2 has a part in C++ that npm may not have built: without it everything works, only more slowly. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { host } from '../../../src/hosts/index.ts'
import { inRun } from './inrun.ts'
import { type Sshd, startSshd } from './sshd.ts'
import { arriveWhole } from './whole.ts'

const root = mkdtempSync(join(tmpdir(), 'slipway-no-addon-'))
const bytes = randomBytes(3_000_000)
const addon = join(
  dirname(createRequire(import.meta.url).resolve('ssh2/package.json')),
  'lib/protocol/crypto/build/Release/sshcrypto.node',
)

// This file is a process of its own, and nothing of it has loaded ssh2 yet.
const { dlopen } = process
let refused = 0
beforeAll(() => {
  process.dlopen = (module, filename, ...flags) => {
    if (filename.endsWith('.node') && /sshcrypto|cpufeatures/.test(filename)) {
      refused++
      throw new Error(`${filename} is not here`)
    }
    dlopen.call(process, module, filename, ...(flags as []))
  }
  mkdirSync(join(root, 'tree'))
  writeFileSync(join(root, 'tree', 'big'), bytes)
})
afterAll(() => {
  process.dlopen = dlopen
  rmSync(root, { recursive: true, force: true })
})

describe.each(['aes256-gcm@openssh.com', 'aes128-ctr', 'chacha20-poly1305@openssh.com'])(
  'without the addon, over %s,',
  (cipher) => {
    let sshd: Sshd
    beforeAll(async () => {
      sshd = await startSshd({ config: `Ciphers ${cipher}\nRekeyLimit 1M` })
    })
    afterAll(() => sshd.stop())

    it('commands run, and bytes arrive whole: as input, as output, and as a tree', () =>
      inRun({ sshConfigFile: sshd.sshConfigFile, projectDir: root }, async (told) => {
        const h = host('test')
        expect(await h.$`echo in; echo err >&2; exit 3`.nothrow()).toMatchObject({ stdout: 'in\n', exitCode: 3 })
        await arriveWhole(sshd, bytes)
        expect(told.of('host.connected')).toMatchObject([{ transport: 'ssh2' }])
        // Where npm built it, it was asked for, and refused.
        expect(refused > 0).toBe(existsSync(addon))
      }))
  },
)
