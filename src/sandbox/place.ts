/**
 * Where a sandbox lies: below the project, unless paths there are too long for unix sockets (107 bytes) or have
 * characters that the configuration of a server can't hold; then in a folder of this user's own in /tmp.
 */
import { createHash } from 'node:crypto'
import { lstat, mkdir, realpath, rename, rm, symlink } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { SlipwayError } from '../events/errors.ts'

/**
 * What a home may be long, in bytes, so that sockets fit below it: the longest is that of a promotion,
 * <home>/.slipway/<app>/changes/<id>/hold.sock, bound under a longer name first.
 */
const longestHome = 38

export interface SandboxPlace {
  /** `<project>/.slipway/sandbox`: holds state.json, and `root`. */
  dir: string
  /** Everything else: etc, bin, nginx, home. */
  root: string
}

/** Where the sandbox of a project lies. Makes nothing. */
export async function sandboxPlace(projectDir: string): Promise<SandboxPlace> {
  const dir = join(await realpath(projectDir), '.slipway', 'sandbox')
  const near = join(dir, 'root')
  const fits = Buffer.byteLength(join(near, 'home')) <= longestHome && /^[\w./+-]+$/.test(near)
  return { dir, root: fits ? near : join(shortFolder(), createHash('sha256').update(dir).digest('hex').slice(0, 10)) }
}

/** Makes the folders. Where the root lies elsewhere, `<dir>/root` is a link to it. */
export async function makePlace({ dir, root }: SandboxPlace): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  if (root.startsWith(dir)) {
    await mkdir(root, { recursive: true, mode: 0o700 })
    return
  }
  await ownFolder(shortFolder())
  await ownFolder(root)
  const link = join(dir, 'root')
  await rm(`${link}.new`, { force: true })
  await symlink(root, `${link}.new`)
  await rename(`${link}.new`, link)
}

/** Whether what lies at the root is of a project that was at the same path before, and was deleted with its sandbox up. */
export async function isLeftOver({ dir, root }: SandboxPlace): Promise<boolean> {
  return !(await isThere(join(dir, 'root'))) && (await isThere(root))
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}

/** Removes everything of a sandbox. */
export async function removePlace({ dir, root }: SandboxPlace): Promise<void> {
  await rm(root, { recursive: true, force: true })
  await rm(dir, { recursive: true, force: true })
}

function shortFolder(): string {
  return `/tmp/slipway-${userInfo().uid}`
}

/** In /tmp anyone could have made it first: it has to be a folder of ours that nobody else may enter. */
async function ownFolder(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  const found = await lstat(path)
  if (found.isDirectory() && found.uid === userInfo().uid && (found.mode & 0o077) === 0) return
  throw new SlipwayError('sandbox-folder', `${path} is not a folder that only you can use`, {
    state: 'Nothing was started.',
    next: `Look who made it (ls -ld ${path}), and remove it.`,
  })
}
