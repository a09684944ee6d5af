/** What is uploaded: the working tree as it lies, or a git ref in a folder of its own; and what may be. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { currentRun, SlipwayError, UsageError } from '../../events/index.ts'
import type { DeployOptions } from '../deployment.ts'
import type { VpsContext } from './context.ts'

export interface Source {
  /** Absolute, without a trailing slash. */
  dir: string
  commit?: string
  branch?: string
  dirty: boolean
  /** Files have the commit's time instead of their own: compare by content. */
  checksum: boolean
}

/** What is left out of every upload, in rsync's form. */
export const defaultExcludes: readonly string[] = [
  '.git',
  '.hg',
  '.svn',
  '.env',
  '.env.*',
  '.slipway',
  '.venv',
  'venv',
  'node_modules',
  '__pycache__',
  '*.pyc',
  '.pytest_cache',
  '.mypy_cache',
  '.ruff_cache',
  '.tox',
  '.cache',
  '.DS_Store',
  '.idea',
  '.vscode',
  '*.swp',
  '*.sqlite',
  '*.sqlite3',
  '*.sqlite-*',
  '*.sqlite3-*',
  '*.db',
  '*.log',
]

export const ignoreFile = '.slipwayignore'

async function git(dir: string, args: readonly string[]): Promise<string | undefined> {
  const { $ } = await import('zx')
  const { stdout, exitCode } = await $({ cwd: dir, quiet: true, nothrow: true, shell: 'bash', input: '' })`git ${args}`
  return exitCode === 0 ? stdout.trim() : undefined
}

/** The source of a deploy. Refuses another branch and a dirty tree where the deployment names a branch. */
export async function prepareSource(context: VpsContext, options: DeployOptions = {}): Promise<Source> {
  const { config, deployment } = context
  const dir = join(config.dir, deployment.app.source)
  if (!existsSync(dir)) {
    throw new UsageError('no-source', `there is no folder ${deployment.app.source} to upload`, {
      state: 'Nothing has connected.',
      next: 'Set [app] source to the folder of the app.',
    })
  }
  if (options.ref !== undefined) return sourceOfRef(context, options.ref)
  const [commit, branch, changes] = await Promise.all([
    git(config.dir, ['rev-parse', '--verify', 'HEAD']),
    git(config.dir, ['symbolic-ref', '--short', '-q', 'HEAD']),
    git(config.dir, ['status', '--porcelain', '--', deployment.app.source]),
  ])
  const dirty = commit === undefined || (changes ?? '') !== ''
  if (deployment.branch !== undefined && !options.allowDirty) {
    checkBranch(deployment.name, deployment.branch, branch)
    if (dirty) {
      throw new UsageError(
        'dirty-tree',
        `the working tree has changes that are not committed, and ${deployment.name} takes only what is on ${deployment.branch}`,
        {
          detail: changes?.split('\n').slice(0, 10).join('\n'),
          state: 'Nothing has connected.',
          next: 'Commit them, deploy a commit with ref=…, or allow it with --allow-dirty.',
        },
      )
    }
  }
  return { dir, commit, branch, dirty, checksum: false }
}

function checkBranch(deployment: string, wanted: string, actual: string | undefined): void {
  if (actual === wanted) return
  throw new UsageError(
    'wrong-branch',
    `${deployment} takes the branch ${wanted}, and this is ${actual ?? 'no branch'}`,
    {
      state: 'Nothing has connected.',
      next: `Check out ${wanted}, deploy it with ref=${wanted}, or allow this one with --allow-dirty.`,
    },
  )
}

async function sourceOfRef(context: VpsContext, ref: string): Promise<Source> {
  const { config, deployment } = context
  const commit = await git(config.dir, ['rev-parse', '--verify', '--quiet', `${ref}^{commit}`])
  if (commit === undefined) {
    throw new UsageError('no-ref', `git knows no commit ${ref} here`, {
      state: 'Nothing has connected.',
      next: 'Give a branch, a tag or a commit; fetch it first if it is not here yet.',
    })
  }
  if (deployment.branch !== undefined) {
    const contained = await Promise.all(
      [deployment.branch, `origin/${deployment.branch}`].map((branch) =>
        git(config.dir, ['merge-base', '--is-ancestor', commit, branch]),
      ),
    )
    if (contained.every((each) => each === undefined)) {
      throw new UsageError(
        'wrong-branch',
        `${ref} is not on ${deployment.branch}, which is what ${deployment.name} takes`,
        {
          state: 'Nothing has connected.',
          next: `Merge it into ${deployment.branch} first.`,
        },
      )
    }
  }
  const { $ } = await import('zx')
  const folder = await mkdtemp(join(tmpdir(), 'slipway-source-'))
  currentRun().defer(() => rm(folder, { recursive: true, force: true }))
  const { exitCode, stderr } = await $({
    cwd: config.dir,
    quiet: true,
    nothrow: true,
    shell: 'bash',
    prefix: 'set -o pipefail;',
    input: '',
  })`git archive --format=tar ${commit} -- ${deployment.app.source} | tar -x -C ${folder}`
  if (exitCode !== 0) {
    throw new SlipwayError('git-archive', `git could not take ${deployment.app.source} out of ${ref}`, {
      detail: stderr.trim(),
      state: 'Nothing has connected.',
    })
  }
  return { dir: join(folder, deployment.app.source), commit, branch: ref, dirty: false, checksum: true }
}
