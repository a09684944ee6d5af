/** Files and folders from one host to another, through this process and past its disk. In place whole or not at all. */
import { SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { type Command, sh } from '../../../shell/index.ts'
import { pipeBetween } from './between.ts'

/** A file, checked by its checksum there. */
export function carryFile(
  from: Host,
  source: string,
  to: Host,
  target: string,
  { bytes, sha256 }: { bytes: number; sha256: string },
): Promise<void> {
  const receive = sh`umask 077; mkdir -p "$(dirname ${target})"
rm -f ${target}.new; cat >${target}.new
[ "$(sha256sum <${target}.new)" = ${`${sha256}  -`} ] || { rm -f ${target}.new; echo 'its checksum is not what it was' >&2; exit 65; }
mv -f ${target}.new ${target}`
  return carry({ host: from, path: source, send: sh`cat ${source}` }, { host: to, path: target, receive }, bytes)
}

/** A folder with all that is in it, over `target`; a folder that is not there is fine. */
export async function carryFolder(from: Host, source: string, to: Host, target: string): Promise<void> {
  const size = await from.run(sh`[ ! -d ${source} ] || du -sk ${source} | cut -f 1`, {
    kind: 'probe',
    quiet: true,
    label: `size of ${source}`,
  })
  if (size.stdout.trim() === '') return
  // An archive that ends early is complained of by tar, and an empty one as well.
  const receive = sh`mkdir -p "$(dirname ${target})"
rm -rf ${target}.new; mkdir ${target}.new
tar -x -p -f - -C ${target}.new || { rm -rf ${target}.new; exit 65; }`
  const send = sh`tar -c -f - -C ${source} .`
  await carry({ host: from, path: source, send }, { host: to, path: target, receive }, Number(size.stdout) * 1024)
  // Only now is it known that all of it was read.
  const put = sh`rm -rf ${target}.before; [ ! -e ${target} ] || mv ${target} ${target}.before
mv ${target}.new ${target}; rm -rf ${target}.before`
  await to.run(put, { label: `put ${target} in place` })
}

async function carry(
  from: { host: Host; path: string; send: Command },
  to: { host: Host; path: string; receive: Command },
  bytes: number,
): Promise<void> {
  const label = { from: `read ${from.path}`, to: `receive ${to.path}` }
  const { sent, received } = await pipeBetween(from.host, from.send, to.host, to.receive, { label, total: bytes })
  if (sent.status === 'fulfilled' && received.status === 'fulfilled') {
    // tar says 1 of a file that changed while it was read: what it wrote is whole.
    const [read, written] = [sent.value, received.value]
    if (written.exitCode === 0 && (read.exitCode === 0 || (read.exitCode === 1 && /file changed/.test(read.stderr)))) {
      return
    }
    // A sender whose receiver has failed ends because nobody reads: it has nothing to say of its own.
    const senderFailed = read.exitCode !== 0 && read.stderr.trim() !== '' && !/broken pipe/i.test(read.stderr)
    const side = written.exitCode === 0 || senderFailed ? from.host : to.host
    throw new SlipwayError(
      'carry-failed',
      `${from.path} of ${from.host.name} could not be carried to ${to.host.name}`,
      {
        host: side.name,
        detail: [read.stderr.trim(), written.stderr.trim()].filter(Boolean).join('\n'),
        state: `${to.path} on ${to.host.name} is as it was.`,
        next: 'Look at what is said above: a full disk, or a file that may not be read.',
      },
    )
  }
  throw sent.status === 'rejected' ? sent.reason : (received as PromiseRejectedResult).reason
}
