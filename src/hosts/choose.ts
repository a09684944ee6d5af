/** Which client takes a host: ssh2, unless its configuration asks for what only the system's ssh can do. */
import { execFile } from 'node:child_process'
import type { HostKeyCheck } from './host-key.ts'
import { readOnce } from './read-once.ts'
import type { SshConfig } from './ssh-config.ts'

/** Why the system's ssh must take this host; undefined: ssh2 can. */
export async function needsOpenssh(config: SshConfig, check: HostKeyCheck): Promise<string | undefined> {
  if (config.note !== undefined) return undefined
  for (const file of config.certificateFiles) {
    if (await there(file)) return `a certificate is configured (${file})`
  }
  for (const file of config.identityFiles) {
    // OpenSSH offers the certificate beside a key by itself.
    if (await there(`${file}-cert.pub`)) return `there is a certificate for the key ${file}`
  }
  if (config.all.get('pkcs11provider')?.some((value) => value !== 'none')) return 'a PKCS#11 provider is configured'
  if (check.wantsCertificates && check.knownTypes.length === 0) return 'the host is known by a certificate authority'
  return undefined
}

/**
 * Whether Kerberos could be used where keys were not accepted: `klist` knows of every kind of cache, and of expiry. Where
 * it is not installed, a ticket that came with the login may be there all the same: in a cache of any kind that is named.
 */
export async function hasKerberosTicket(config: SshConfig): Promise<boolean> {
  if (config.all.get('gssapiauthentication')?.[0] !== 'yes') return false
  const found = await new Promise<boolean | undefined>((resolve) => {
    execFile('klist', ['-s'], (error) => resolve(error?.code === 'ENOENT' ? undefined : !error))
  })
  if (found !== undefined) return found
  const cache = process.env.KRB5CCNAME ?? `/tmp/krb5cc_${process.getuid?.() ?? ''}`
  const [, kind = 'FILE', path = cache] = /^([A-Z]+):(.*)$/.exec(cache) ?? []
  return kind !== 'FILE' || there(path)
}

const there = async (file: string) => !((await readOnce(file)) instanceof Error)
