/** A disk that is soon full: for root, who may mount one. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Runs `fn` with a disk of `kilobytes` in the place of a folder; what is in it comes along. */
export async function onSmallDisk(folder: string, kilobytes: number, fn: () => Promise<void>): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const files = readdirSync(folder).filter((name) => statSync(join(folder, name)).isFile())
  const contents = files.map((name) => [name, readFileSync(join(folder, name))] as const)
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'tmpfs', folder])
  try {
    for (const [name, content] of contents) writeFileSync(join(folder, name), content)
    await fn()
  } finally {
    execFileSync('umount', [folder])
  }
}
