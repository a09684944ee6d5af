/** The kinds of hosts that the same tests are run on: two ways to an OpenSSH server, this machine, and dropbear with busybox as `sh`. */
import { homedir } from 'node:os'
import { expect } from 'vitest'
import type { RunOptions } from '../../../src/events/index.ts'
import { type Host, host, local } from '../../../src/hosts/index.ts'
import { canNamespace, startDropbear } from './dropbear.ts'
import { type InRun, inRun } from './inrun.ts'
import { certifiedConfig, startSshd } from './sshd.ts'

export type Kind = 'ssh2' | 'openssh' | 'local' | 'dropbear'

export const everyKind: Kind[] = ['ssh2', 'openssh', 'local', ...(canNamespace ? (['dropbear'] as const) : [])]

/** Servers for all of them; `client` are lines of the client's configuration. */
export async function startEveryKind(client = '') {
  const [sshd, dropbear] = await Promise.all([startSshd({ client }), canNamespace ? startDropbear() : undefined])
  const certified = certifiedConfig(sshd, client)
  const configs = { openssh: certified, ssh2: sshd.sshConfigFile, local: sshd.sshConfigFile }
  return {
    sshd,
    certified,
    homeOf: (kind: Kind) => (kind === 'local' ? homedir() : kind === 'dropbear' ? (dropbear?.home ?? '') : sshd.home),
    /** Calls `fn` in a run with the host of that kind, and holds that it was reached in that way. */
    on<T>(kind: Kind, fn: (h: Host, told: InRun) => Promise<T>, more: RunOptions = {}): Promise<T> {
      const sshConfigFile = kind === 'dropbear' ? (dropbear?.sshConfigFile ?? '') : configs[kind]
      return inRun({ sshConfigFile, ...more }, async (told) => {
        const result = await fn(kind === 'local' ? local() : host('test'), told)
        const way = kind === 'dropbear' ? 'ssh2' : kind
        for (const { transport } of told.of('host.connected')) expect(transport).toBe(way)
        return result
      })
    },
    async stop() {
      await Promise.all([sshd.stop(), dropbear?.stop()])
    },
  }
}
