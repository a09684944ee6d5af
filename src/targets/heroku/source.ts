/** The source as a gzipped tar: what git has at a ref, or the working tree without what is ignored. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative, sep } from 'node:path'
import { promisify } from 'node:util'
import { SlipwayError, UsageError } from '../../events/errors.ts'
import type { DeployOptions } from '../deployment.ts'
import type { HerokuContext } from './context.ts'

const run = promisify(execFile)

export interface Source {
  tarball: Buffer
  /** `SHA256:…`, as the platform wants it. */
  checksum: string
  commit?: string
  /** For people: `main at 1a2b3c4`, `the working tree`. */
  what: string
  files?: number
}

/** What git prints, without its last newline; undefined where it fails. */
export const git = async (dir: string, ...args: string[]): Promise<string | undefined> => {
  try {
    const { stdout } = await run('git', ['-C', dir, ...args], { maxBuffer: 64 << 20 })
    return stdout.replace(/\n$/, '')
  } catch {
    return undefined
  }
}

/** Packs what is to be deployed. Refuses a dirty tree or another branch where the deployment names its branch. */
export async function packSource(context: HerokuContext, options: DeployOptions = {}): Promise<Source> {
  const dir = join(context.config.dir, context.deployment.app.source)
  // A folder that a repository around it ignores is not part of it.
  const inGit =
    (await git(dir, 'rev-parse', '--is-inside-work-tree')) === 'true' &&
    (await git(dir, 'check-ignore', '-q', '.')) === undefined
  if (options.ref !== undefined) return atRef(context, dir, inGit, options.ref)
  const { branch } = context.deployment
  if (branch !== undefined) {
    if (!inGit)
      throw new UsageError(
        'not-git',
        `[${context.deployment.name}] names the branch ${branch}, and ${dir} is not in git`,
      )
    const head = await git(dir, 'rev-parse', '--abbrev-ref', 'HEAD')
    if (head !== branch) {
      throw new UsageError('wrong-branch', `this is the branch ${head}; ${context.deployment.name} deploys ${branch}`, {
        state: 'Nothing was uploaded.',
        next: `git switch ${branch}, or name what to deploy: ref=${head}`,
      })
    }
    const dirty = await git(dir, 'status', '--porcelain')
    if (dirty && !options.allowDirty) {
      throw new UsageError('dirty-tree', 'there are changes that are not committed', {
        detail: dirty.split('\n').slice(0, 10).join('\n'),
        state: 'Nothing was uploaded.',
        next: 'Commit them, or give allow_dirty.',
      })
    }
    if (!dirty) return atRef(context, dir, inGit, 'HEAD')
  }
  return workingTree(context, dir, inGit)
}

async function atRef(context: HerokuContext, dir: string, inGit: boolean, ref: string): Promise<Source> {
  if (!inGit) throw new UsageError('not-git', `${dir} is not in git, so there is no ${ref}`)
  const commit = await git(dir, 'rev-parse', '--verify', '--quiet', `${ref}^{commit}`)
  if (!commit) {
    throw new UsageError('no-ref', `git has no ${ref} here`, {
      state: 'Nothing was uploaded.',
      next: 'git fetch, or name a branch, a tag or a commit that `git log` shows.',
    })
  }
  const prefix = (await git(dir, 'rev-parse', '--show-prefix')) ?? ''
  const { stdout } = await run('git', ['-C', dir, 'archive', '--format=tar.gz', `${commit}:${prefix}`], {
    encoding: 'buffer',
    maxBuffer: 2 ** 31 - 1,
  })
  return packed(stdout, { commit, what: `${ref} at ${commit.slice(0, 7)}`, empty: context.deployment.app.source })
}

async function workingTree(context: HerokuContext, dir: string, inGit: boolean): Promise<Source> {
  const listed = inGit
    ? ((await git(dir, 'ls-files', '-z', '--cached', '--others', '--exclude-standard', '--deduplicate')) ?? '')
        .split('\0')
        .filter(Boolean)
    : await walk(dir)
  const ignored = ignoreRules([
    ...context.deployment.app.exclude,
    ...(await readFile(join(context.config.dir, '.slipwayignore'), 'utf8').catch(() => '')).split('\n'),
    ...(await readFile(join(dir, '.slugignore'), 'utf8').catch(() => '')).split('\n'),
    '.git/',
    '.slipway/',
    '.env',
  ])
  const present = new Set(inGit ? await existing(dir, listed) : listed)
  const files = listed.filter((file) => present.has(file) && !ignored(file)).sort()
  if (files.length === 0) {
    throw new UsageError('empty-source', `there is nothing to deploy in ${dir}`, {
      next: 'Check `source =` and `exclude =` in config/deploy.ini, and .slipwayignore.',
    })
  }
  const scratch = await mkdtemp(join(tmpdir(), 'slipway-source-'))
  try {
    const tarball = join(scratch, 'source.tgz')
    const pending = run('tar', ['-czf', tarball, '-C', dir, '--null', '-T', '-'])
    pending.child.stdin?.end(files.join('\0'))
    await pending
    const commit = inGit ? await git(dir, 'rev-parse', 'HEAD') : undefined
    const dirty = inGit && (await git(dir, 'status', '--porcelain')) !== ''
    const what = commit ? `the working tree, ${dirty ? 'changed since' : 'at'} ${commit.slice(0, 7)}` : 'the folder'
    return {
      ...packed(await readFile(tarball), { commit: dirty ? undefined : commit, what, empty: dir }),
      files: files.length,
    }
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

function packed(tarball: Buffer, about: { commit?: string; what: string; empty: string }): Source {
  if (tarball.length < 64) throw new SlipwayError('empty-source', `there is nothing to deploy in ${about.empty}`)
  return {
    tarball,
    checksum: checksumOf(tarball),
    commit: about.commit,
    what: about.what,
  }
}

export const checksumOf = (tarball: Buffer): string => `SHA256:${createHash('sha256').update(tarball).digest('hex')}`

/** Files that git lists and that were removed from the tree are left out. */
async function existing(dir: string, files: readonly string[]): Promise<string[]> {
  const deleted = new Set(((await git(dir, 'ls-files', '-z', '--deleted')) ?? '').split('\0'))
  return files.filter((file) => !deleted.has(file))
}

async function walk(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)).split(sep).join('/'))
}

/**
 * Whether a path is left out, by lines as in .gitignore: `*` within a folder, `**` across, `dir/` a folder, a leading
 * `/` from the top, `!` brings back. The last line that matches decides.
 */
export function ignoreRules(lines: readonly string[]): (path: string) => boolean {
  const rules = lines
    .map((line) => line.replace(/\r$/, '').replace(/(?<!\\)\s+$/, ''))
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const negated = line.startsWith('!')
      const pattern = negated ? line.slice(1) : line
      const folder = pattern.endsWith('/')
      const body = pattern.replace(/\/$/, '').replace(/^\//, '')
      const anchored = pattern.replace(/\/$/, '').includes('/')
      const source = body
        .split('**')
        .map((part) =>
          part
            .split('*')
            .map((text) => text.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('?', '[^/]'))
            .join('[^/]*'),
        )
        .join('.*')
      return { negated, test: new RegExp(`^${anchored ? '' : '(?:.*/)?'}${source}${folder ? '/' : '(?:/|$)'}`) }
    })
  return (path) => {
    let ignored = false
    for (const rule of rules) if (rule.test.test(path)) ignored = !rule.negated
    return ignored
  }
}
