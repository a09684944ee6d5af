/**
 * Uploading what the host has already: where the tree here is as it was when the current version was uploaded, and
 * that version's files lie on the host as they came, the new version is made of links to them, there, without rsync's
 * many questions. Anything that differs is rsync's affair.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Command, sh } from '../../shell/index.ts'
import type { ReleaseLayout } from './layout.ts'

/** Where a version's files are listed as they were uploaded, before an install adds to them. */
export const listingFile = (release: ReleaseLayout, id: string): string => `${release.versionRecords}/${id}.files`

/**
 * A digest of what an upload of `source` would consist of: names, types, sizes, times and modes, by rsync's own word
 * for the same patterns. undefined where that can't be told.
 */
export async function treeDigest(
  source: string,
  patterns: { exclude: readonly string[]; excludeFrom?: string },
): Promise<string | undefined> {
  const empty = await mkdtemp(join(tmpdir(), 'slipway-listing-'))
  try {
    // It compares the folder itself too: with one that is as old as none here can be.
    await utimes(empty, 1, 1)
    const words = [
      ...patterns.exclude.map((pattern) => `--exclude=${pattern}`),
      ...(patterns.excludeFrom === undefined ? [] : [`--exclude-from=${patterns.excludeFrom}`]),
      '-rlpt',
      '--dry-run',
      '--out-format=%i %M %l %B %n%L',
      '--',
      source,
      `${empty}/`,
    ]
    const child = spawn('rsync', words, {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    })
    const hash = createHash('sha256')
    child.stdout.on('data', (chunk: Buffer) => hash.update(chunk))
    const code = await new Promise<number | null>((resolve) => {
      child.once('error', () => resolve(null))
      child.once('close', resolve)
    })
    return code === 0 ? hash.digest('hex') : undefined
  } finally {
    await rm(empty, { recursive: true, force: true })
  }
}

const program = `
import json, os, shutil, stat, sys

def kind(info):
    for test, name in ((stat.S_ISDIR, 'd'), (stat.S_ISLNK, 'l'), (stat.S_ISREG, 'f')):
        if test(info.st_mode):
            return name
    return 'other'

def entry(path, name):
    info = os.lstat(path)
    what = kind(info)
    return [name, what, info.st_size if what == 'f' else 0, info.st_mtime_ns, stat.S_IMODE(info.st_mode), os.readlink(path) if what == 'l' else '']

def listing(root):
    yield entry(root, '')
    for folder, folders, files in os.walk(root):
        for name in sorted(folders) + sorted(files):
            path = os.path.join(folder, name)
            yield entry(path, os.path.relpath(path, root))

def save(path, lines):
    with open(path + '.new', 'w', encoding='utf-8', errors='surrogateescape') as file:
        for line in lines:
            file.write(json.dumps(line) + '\\n')
    os.replace(path + '.new', path)

def link(old, new, known):
    with open(known, encoding='utf-8', errors='surrogateescape') as file:
        lines = [json.loads(line) for line in file]
    modes = {}
    for name, what, size, mtime, mode, target in lines:
        there = entry(os.path.join(old, name) if name else old, name)
        same = there[1] == what and there[2] == size and there[5] == target and (what != 'f' or there[3] == mtime) and what != 'other'
        if not same:
            sys.exit('differs: ' + name)
        modes[name] = there[4]
    for name, what, size, mtime, mode, target in lines:
        path, source = os.path.join(new, name), os.path.join(old, name)
        if what == 'd':
            os.makedirs(path, exist_ok=True)
        elif what == 'l':
            os.symlink(target, path)
            os.utime(path, ns=(mtime, mtime), follow_symlinks=False)
        elif modes[name] == mode:
            os.link(source, path)
        else:
            # An install gave it another mode: the new version has a file of its own, as it was uploaded.
            shutil.copy2(source, path)
            os.chmod(path, mode)
    # Folders last, and the innermost first: what is put into one changes its time.
    for name, what, size, mtime, mode, target in reversed(lines):
        if what == 'd':
            os.chmod(os.path.join(new, name) if name else new, mode)
            os.utime(os.path.join(new, name) if name else new, ns=(mtime, mtime))
    return lines

if sys.argv[1] == 'list':
    save(sys.argv[3], listing(sys.argv[2]))
else:
    old, new, known, file = sys.argv[2:]
    lines = link(old, new, known)
    save(file, lines)
    print(sum(1 for line in lines if line[1] != 'd'))
`

/** Lists the files of version `id` as they lie, for the next upload. */
export const listFiles = (release: ReleaseLayout, id: string): Command =>
  sh`python3 -c ${program} list ${release.version(id)} ${listingFile(release, id)}`

/** Makes the empty folder of `id` what was uploaded as `from`, by links, and prints the number of files. Fails, with nothing linked, where one of them differs from what was uploaded. */
export const linkFiles = (release: ReleaseLayout, from: string, id: string): Command =>
  sh`python3 -c ${program} link ${release.version(from)} ${release.version(id)} ${listingFile(release, from)} ${listingFile(release, id)}`
