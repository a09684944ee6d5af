/**
 * known_hosts files, as sshd(8) describes them: plain and hashed names, patterns and negation, ports, @revoked and
 * @cert-authority. Pure: texts in, verdict out.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto'

export interface KnownHostsFile {
  readonly path: string
  readonly text: string
}

export interface KnownHostLine {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly marker?: 'revoked' | 'cert-authority'
  readonly names: string
  readonly keyType: string
  /** The key, base64. */
  readonly key: string
}

export type HostKeyVerdict =
  | { verdict: 'known'; line: KnownHostLine }
  /** Other keys are on record for this name, none of this type or none like it. */
  | { verdict: 'changed'; lines: readonly KnownHostLine[] }
  | { verdict: 'revoked'; line: KnownHostLine }
  | { verdict: 'unknown' }

/** The lines that are about `host` at `port`, in the files' order. Lines that cannot be read are passed over. */
export function linesFor(files: readonly KnownHostsFile[], host: string, port: number): KnownHostLine[] {
  const name = knownHostsName(host, port)
  return files.flatMap((file) =>
    file.text.split('\n').flatMap((text, index) => {
      const parsed = parseLine(text, file.path, index + 1)
      return parsed && namesMatch(parsed.names, name) ? [parsed] : []
    }),
  )
}

/** What the files say of `key` (the blob that the server sent) for `host` at `port`. */
export function judgeHostKey(
  files: readonly KnownHostsFile[],
  host: string,
  port: number,
  key: Uint8Array,
): HostKeyVerdict {
  const blob = Buffer.from(key)
  const base64 = blob.toString('base64')
  const type = keyTypeOf(blob)
  const lines = linesFor(files, host, port)
  const revoked = lines.find((line) => line.marker === 'revoked' && line.key === base64)
  if (revoked) return { verdict: 'revoked', line: revoked }
  const plain = lines.filter((line) => line.marker === undefined)
  const known = plain.find((line) => line.key === base64)
  if (known) return { verdict: 'known', line: known }
  // A key of another type is new, not changed: OpenSSH asks, it does not cry wolf. Of the same type it has changed.
  const sameType = plain.filter((line) => line.keyType === type)
  if (sameType.length > 0) return { verdict: 'changed', lines: sameType }
  return plain.length > 0 ? { verdict: 'changed', lines: plain } : { verdict: 'unknown' }
}

/** The types of the keys on record for a host, to be asked for first: else a server's other key would look changed. */
export function knownKeyTypes(files: readonly KnownHostsFile[], host: string, port: number): string[] {
  const lines = linesFor(files, host, port).filter((line) => line.marker === undefined)
  return [...new Set(lines.map((line) => line.keyType))]
}

/** Whether a certificate authority is on record for the host: then its certificates are to be asked for. */
export function hasCertAuthority(files: readonly KnownHostsFile[], host: string, port: number): boolean {
  return linesFor(files, host, port).some((line) => line.marker === 'cert-authority')
}

/** `host`, or `[host]:port` where the port is not 22. Lower case, as ssh(1) looks it up. */
export function knownHostsName(host: string, port: number): string {
  const lower = host.toLowerCase()
  return port === 22 ? lower : `[${lower}]:${port}`
}

/** The line to add for a key; the name hashed if `hash`. Without newline. */
export function knownHostsLine(host: string, port: number, key: Uint8Array, hash: boolean): string {
  const blob = Buffer.from(key)
  const name = knownHostsName(host, port)
  return `${hash ? hashName(name, randomBytes(20)) : name} ${keyTypeOf(blob)} ${blob.toString('base64')}`
}

/** `SHA256:…`, as ssh-keygen -l prints it. */
export function fingerprint(key: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`
}

/** The type named in a key's blob: `ssh-ed25519`. */
export function keyTypeOf(blob: Buffer): string {
  if (blob.length < 4) return ''
  return blob.toString('latin1', 4, 4 + blob.readUInt32BE(0))
}

function parseLine(text: string, file: string, line: number): KnownHostLine | undefined {
  let fields = text.trim().split(/[ \t]+/)
  if (text.trim() === '' || fields[0]?.startsWith('#')) return undefined
  let marker: KnownHostLine['marker']
  if (fields[0]?.startsWith('@')) {
    if (fields[0] !== '@revoked' && fields[0] !== '@cert-authority') return undefined
    marker = fields[0].slice(1) as 'revoked' | 'cert-authority'
    fields = fields.slice(1)
  }
  const [names, keyType, key] = fields
  // Lines of protocol 1 have a number there.
  if (names === undefined || keyType === undefined || key === undefined || /^\d+$/.test(keyType)) return undefined
  return { file, line, marker, names, keyType, key }
}

function namesMatch(names: string, name: string): boolean {
  if (names.startsWith('|1|')) return hashMatches(names, name)
  let matched = false
  for (const pattern of names.split(',')) {
    const negated = pattern.startsWith('!')
    if (wildcard((negated ? pattern.slice(1) : pattern).toLowerCase(), name)) {
      if (negated) return false
      matched = true
    }
  }
  return matched
}

function hashName(name: string, salt: Buffer): string {
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`
}

function hashMatches(hashed: string, name: string): boolean {
  const salt = hashed.split('|')[2]
  return salt !== undefined && salt !== '' && hashName(name, Buffer.from(salt, 'base64')) === hashed
}

/** `*` and `?`, without backtracking twice over the same place. */
function wildcard(pattern: string, name: string): boolean {
  let p = 0
  let n = 0
  let star = -1
  let from = 0
  while (n < name.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++
      from = n
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++
      n++
    } else if (star >= 0) {
      p = star + 1
      n = ++from
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
