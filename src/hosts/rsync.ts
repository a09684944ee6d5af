/** Trees by rsync, over the connection that stands already. The plan (arguments, report) is pure; running it is not. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import type { SFTPWrapper } from 'ssh2'
import { abortedBy, SlipwayError, UsageError } from '../events/errors.ts'
import { approve, currentRun, type Run } from '../events/run.ts'
import { ConnectError, connectionLost } from './errors.ts'
import { isTooBroad } from './file-commands.ts'
import type { RsyncOptions, RsyncResult } from './host.ts'
import { pool } from './pool.ts'
import { nextTurn, orAborted, within, withResolvers } from './promises.ts'
import { type Greeting, rsyncBridge } from './rsync-bridge.ts'
import { stubbedResult } from './running.ts'
import type { RsyncChild, RsyncShell, Transport } from './transport.ts'
import { resolvePath, type WireOptions } from './wire.ts'

export interface RsyncSite {
  readonly name: string
  readonly kind: 'ssh' | 'local'
  readonly directory?: string
  readonly user?: string
  transport(): Promise<Transport>
  home(): Promise<string>
  /** How to become `user` there where that takes a password; it is asked for. */
  sudo(): Promise<WireOptions>
}

export interface RsyncPlan {
  readonly up: boolean
  readonly local: string
  /** Absolute, or relative to the login directory. */
  readonly remote: string
  readonly linkDest?: string
  readonly dryRun: boolean
  /** Whether `--info=progress2` is understood. */
  readonly progress: boolean
  readonly remoteShell?: string
  readonly user?: string
  /** What becomes `user` there: `sudo -n` unless a password is needed. */
  readonly sudo?: readonly string[]
  readonly options: RsyncOptions
}

type RsyncBuilder = {
  flags(flags: string): RsyncBuilder
  set(option: string, value?: string): RsyncBuilder
  exclude(patterns: string[]): RsyncBuilder
  _options: Record<string, string | null>
  _patterns: { action: string; pattern: string }[]
}

/**
 * The argument vector of the local rsync. The options are kept in an `rsync` builder; its own command line is for a
 * shell and leaves `; & | < >` unquoted, so the vector is made here and no shell ever sees it.
 */
function rsyncArguments(plan: RsyncPlan, builder: RsyncBuilder): string[] {
  const { options } = plan
  builder.flags('rlpt').set('itemize-changes').set('stats').set('no-human-readable').set('out-format', '%i %n')
  builder.set('partial-dir', '.rsync-partial')
  if (plan.remoteShell !== undefined) builder.set('rsh', plan.remoteShell).set('blocking-io')
  if (plan.progress) builder.set('info', 'progress2')
  if (plan.dryRun) builder.set('dry-run')
  if (options.delete) builder.set('delete-delay')
  if (options.checksum) builder.set('checksum')
  if (plan.linkDest !== undefined) builder.set('link-dest', plan.linkDest)
  if (options.excludeFrom !== undefined) builder.set('exclude-from', options.excludeFrom)
  if (options.exclude?.length) builder.exclude([...options.exclude])
  if (plan.user !== undefined && plan.remoteShell !== undefined)
    builder.set('rsync-path', `${(plan.sudo ?? ['sudo', '-n']).join(' ')} -H -u ${plan.user} -- rsync`)
  const words = Object.entries(builder._options).flatMap(([name, value]) => {
    if (name.length === 1) return [value === null || value === undefined ? `-${name}` : `-${name}${value}`]
    return [value === null || value === undefined ? `--${name}` : `--${name}=${value}`]
  })
  const patterns = builder._patterns.map(({ action, pattern }) =>
    action === '-' ? `--exclude=${pattern}` : `--include=${pattern}`,
  )
  const there = plan.remoteShell === undefined ? plan.remote : `host:${plan.remote}`
  const ends = plan.up ? [plan.local, there] : [there, plan.local]
  // The first pattern that matches wins, so given patterns go before a file of them.
  return [...patterns, ...words, '--', ...ends]
}

export async function rsync(site: RsyncSite, options: RsyncOptions): Promise<RsyncResult> {
  const run = currentRun()
  const up = options.direction !== 'down'
  const local = localPath(run, up ? options.source : options.destination)
  const there = up ? options.destination : options.source
  const remoteFull = resolvePath(site.directory, there)
  const target = up ? remoteFull : local
  if (there.trim() === '' || (up ? options.source : options.destination).trim() === '') {
    throw new UsageError('rsync-empty-path', 'rsync was given an empty path', { state: 'Nothing was copied.' })
  }
  if (options.delete && isTooBroad(target)) {
    throw new UsageError('rsync-delete-refused', `rsync with delete is refused on ${JSON.stringify(there)}`, {
      host: site.name,
      state: 'Nothing was copied or deleted.',
      next: 'Name a folder of its own.',
    })
  }
  const dryRun = options.dryRun === true || run.options.dryRun === true
  const arrow = up ? `${options.source} → ${there}` : `${there} → ${options.destination}`
  const display = `rsync ${arrow}`
  if (!dryRun) await approve(run, site.name, display)
  const byRsync = async (sudo?: WireOptions) => {
    const connecting = site.transport()
    connecting.catch(() => {})
    const builder = newBuilder()
    const transport = await connecting
    const greeting =
      sudo?.sudoPassword && sudo.sudoPrompt !== undefined
        ? { line: sudo.sudoPassword, prompt: sudo.sudoPrompt }
        : undefined
    const shell = greeting && site.kind === 'ssh' ? rsyncBridge(transport.exec, greeting) : await transport.rsyncShell()
    const plan: RsyncPlan = {
      up,
      local,
      remote: await remotePath(site, remoteFull),
      ...(options.linkDest === undefined
        ? {}
        : { linkDest: await absolute(site, resolvePath(site.directory, options.linkDest)) }),
      dryRun,
      progress: progress(run).understood,
      remoteShell: shell.remoteShell,
      user: site.user,
      sudo: sudo?.sudo,
      options: {
        ...options,
        ...(options.excludeFrom === undefined ? {} : { excludeFrom: localPath(run, options.excludeFrom) }),
      },
    }
    return execute(run, site, transport, shell, rsyncArguments(plan, builder), display, sudo?.sudo, greeting)
  }
  const byRsyncHere = (sudo?: WireOptions): Promise<RsyncResult> =>
    byRsync(sudo).catch(async (error: unknown) => {
      if (!(error instanceof SlipwayError && error.code === 'rsync-failed')) throw error
      const said = error.detail ?? ''
      if (progress(run).understood && /unknown option|unrecogni[sz]ed option|illegal option/.test(said)) {
        progress(run).understood = false
        return byRsyncHere(sudo)
      }
      const asked = /password is required|a terminal is required|no tty present/.test(said)
      if (!asked || sudo || site.user === undefined) throw error
      return byRsyncHere(await site.sudo())
    })
  const bySftp = async (missing: SlipwayError) => {
    // SFTP is the login user's, whoever else the host is used as.
    if (!(await site.transport()).sftp || site.user !== undefined) throw missing
    run.emit({ type: 'note', host: site.name, text: `it has no rsync; ${arrow} goes by SFTP, which is slower` })
    const patterns = {
      ...options,
      ...(options.excludeFrom === undefined ? {} : { excludeFrom: localPath(run, options.excludeFrom) }),
    }
    return withReconnects(run, site, async () => {
      const { sftp, lost } = await site.transport()
      if (!sftp) throw missing
      const copy = { up, local, remote: await absolute(site, remoteFull), dryRun, display }
      return copyBySftp(run, site, { sftp, lost }, copy, patterns)
    })
  }
  const result = await withReconnects(run, site, () => byRsyncHere()).catch((error: unknown) => {
    if (error instanceof SlipwayError && error.code === 'rsync-missing') return bySftp(error)
    throw error
  })
  if (run.options.dryRun && !options.dryRun) {
    const list = [...result.changed, ...result.deleted.map((name) => `delete ${name}`)]
    if (list.length === 0) return result
    run.emit({ type: 'held-back', host: site.name, display, diff: `${list.join('\n')}\n` })
    return stubbedResult<RsyncResult>(display)
  }
  if (!dryRun && result.changed.length + result.deleted.length > 0) {
    const deleted = result.deleted.length > 0 ? `, ${result.deleted.length} deleted` : ''
    run.emit({ type: 'changed', host: site.name, what: `${there}: ${result.changed.length} sent${deleted}` })
  }
  return result
}

type SftpWay = Required<Pick<Transport, 'sftp' | 'lost'>>

async function copyBySftp(
  run: Run,
  site: RsyncSite,
  way: SftpWay,
  copy: { up: boolean; local: string; remote: string; dryRun: boolean; display: string },
  options: RsyncOptions,
): Promise<RsyncResult> {
  const { fetchTree, removeParts, sendTree } = await import('./sftp-tree.ts')
  const id = `r${++counter}`
  const startedAt = performance.now()
  run.emit({ type: 'step.started', id, title: copy.display, host: site.name })
  let outcome: 'ok' | 'failed' = 'failed'
  const parts = new Set<string>()
  try {
    if (copy.up) {
      const sending = {
        source: copy.local,
        destination: copy.remote,
        options,
        dryRun: copy.dryRun,
        signal: run.signal,
        parts,
        onProgress: (done: number, total: number) =>
          run.emit({ type: 'progress', id, host: site.name, label: copy.display, done, total, unit: 'bytes' }),
      }
      const result = await overSftp(run, site, way, copy.display, (sftp) => sendTree(sftp, sending))
      outcome = 'ok'
      return result
    }
    // All of it is fetched, and then rsync here makes of it what was asked for.
    const whole = await mkdtemp(join(tmpdir(), 'slipway-sftp-'))
    try {
      await overSftp(run, site, way, copy.display, (sftp) => fetchTree(sftp, copy.remote, whole, run.signal))
      const name = copy.remote.endsWith('/') ? '' : basename(copy.remote)
      const { direction: _down, ...same } = options
      const here = await pool().local()
      const plan: RsyncPlan = {
        up: true,
        local: join(whole, name) + (name === '' ? '/' : ''),
        remote: copy.local,
        dryRun: copy.dryRun,
        progress: false,
        options: same,
      }
      const builder = newBuilder()
      const shell = await here.rsyncShell()
      const result = await execute(
        run,
        { ...site, user: undefined },
        here,
        shell,
        rsyncArguments(plan, builder),
        copy.display,
      )
      outcome = 'ok'
      return result
    } finally {
      await rm(whole, { recursive: true, force: true })
    }
  } finally {
    // By a session of its own: the other one was ended for them.
    if (parts.size > 0)
      await within(
        endsWithinMs,
        way
          .sftp()
          .then((sftp) => removeParts(sftp, parts))
          .catch(() => {}),
      )
    const ended = outcome === 'failed' && run.signal.aborted ? 'aborted' : outcome
    run.emit({ type: 'step.finished', id, outcome: ended, durationMs: performance.now() - startedAt })
  }
}

/**
 * Does `work` by a session of its own, as long as the run is not interrupted and the connection stands. Settles once
 * `work` has; over a connection that stands still that is waited for no longer than a second.
 */
async function overSftp<T>(
  run: Run,
  site: RsyncSite,
  way: SftpWay,
  display: string,
  work: (sftp: SFTPWrapper) => Promise<T>,
): Promise<T> {
  const startedAt = performance.now()
  let gone: Error | undefined
  const lost = way.lost.then((error) => {
    gone = error
    throw error
  })
  lost.catch(() => {})
  const meanwhile = <P>(promise: Promise<P>, drop?: (late: P) => void) =>
    orAborted(run.signal, Promise.race([promise, lost]), drop)
  let sftp: SFTPWrapper | undefined
  let working: Promise<T> | undefined
  try {
    sftp = await meanwhile(way.sftp(), (late) => late.end())
    working = work(sftp)
    return await meanwhile(working)
  } catch (error) {
    // What goes with a connection may be told of before its loss is.
    await nextTurn()
    if (run.signal.aborted) throw abortedBy(run.signal)
    if (gone) throw connectionLost(site.name, display, gone.message, true, performance.now() - startedAt)
    throw error
  } finally {
    // What is under way ends with the session, and what is written into is not removed before.
    sftp?.end()
    await within(endsWithinMs, working?.catch(() => {}) ?? Promise.resolve())
  }
}

/** Copying again is safe, and goes on where it stopped: after a lost connection it is, up to three times. */
async function withReconnects<T>(run: Run, site: RsyncSite, attempt: () => Promise<T>): Promise<T> {
  for (let left = 3; ; left--) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof SlipwayError && error.code === 'connection-lost') || left === 0 || run.signal.aborted)
        throw error
      run.emit({ type: 'warning', host: site.name, text: 'the connection was lost; connecting again to go on copying' })
    }
  }
}

function localPath(run: Run, path: string): string {
  const full = resolve(run.options.projectDir ?? '.', path)
  return path.endsWith('/') && !full.endsWith('/') ? `${full}/` : full
}

async function remotePath(site: RsyncSite, path: string): Promise<string> {
  if (site.kind === 'local' || site.user !== undefined) return absolute(site, path)
  // rsync's own relative paths start in the login directory, so this needs no round trip.
  if (path === '~') return './'
  if (path.startsWith('~/')) return path.length > 2 ? `./${path.slice(2)}` : './'
  return path.startsWith('/') ? path : `./${path}`
}

async function absolute(site: RsyncSite, path: string): Promise<string> {
  if (path.startsWith('/')) return path
  const home = await site.home()
  return path === '~' ? home : `${home}/${path.replace(/^~\//, '')}`
}

/** Whether the rsync here takes `--info=progress2`. It is found out by use: asking first would be a process more. */
function progress(run: Run): { understood: boolean } {
  return run.memo('rsync progress', () => ({ understood: true }))
}

// Required, not imported: of a module in CommonJS that is half the time.
const require = createRequire(import.meta.url)

function newBuilder(): RsyncBuilder {
  const Rsync = require('rsync') as new () => RsyncBuilder
  return new Rsync()
}

let counter = 0

/** How long the other end of an interrupted copy is waited for, milliseconds. */
export const endsWithinMs = 1000

async function execute(
  run: Run,
  site: RsyncSite,
  transport: Transport,
  shell: RsyncShell,
  args: string[],
  display: string,
  sudo: readonly string[] = ['sudo', '-n'],
  greeting?: Greeting,
): Promise<RsyncResult> {
  const id = `r${++counter}`
  const startedAt = performance.now()
  const extra: ('pipe' | 'ipc')[] = Array.from({ length: shell.extraStdio }, () => 'pipe')
  if (shell.channel) extra.push('ipc')
  // Here the whole of it runs as the other user; there only the other end does.
  const local = shell.remoteShell === undefined && site.user !== undefined
  const [program, words] = local
    ? [sudo[0] as string, [...sudo.slice(1), '-H', '-u', site.user as string, '--', 'rsync', ...args]]
    : ['rsync', args]
  const child = spawn(program, words, {
    stdio: [local && greeting ? 'pipe' : 'ignore', 'pipe', 'pipe', ...extra],
    env: { ...process.env, LC_ALL: 'C', ...shell.env },
    // Its own group: Ctrl-C on the terminal is for us to pass on.
    detached: true,
  }) as RsyncChild
  run.emit({ type: 'step.started', id, title: display, host: site.name })
  const report = createReport((done, total) =>
    run.emit({
      type: 'progress',
      id,
      host: site.name,
      label: display,
      done,
      ...(total ? { total } : {}),
      unit: 'bytes',
    }),
  )
  let complaint = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => report.push(text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-8000)
  })
  child.stdin?.on('error', () => {}).end(`${greeting?.line.reveal()}\n`)
  let gone: Error | undefined
  void transport.lost.then((error) => {
    gone = error
  })
  const interrupted = withResolvers<void>()
  const abort = () => {
    interrupted.resolve()
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM')
    } catch {
      // It has ended already.
    }
  }
  run.signal.addEventListener('abort', abort, { once: true })
  if (run.signal.aborted) abort()
  const spliced = shell.attach(child)
  const ended = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      run.signal.removeEventListener('abort', abort)
      run.emit({ type: 'step.finished', id, outcome: 'failed', durationMs: performance.now() - startedAt })
      reject(error.code === 'ENOENT' && program === 'rsync' ? missingHere() : error)
    })
    // Not `close`: the descriptors that are ours stay open until we let go of them.
    child.once('exit', (status) => resolve(status))
  })
  // How it ended there does not come over a connection that stands still; who interrupts it is not kept waiting for that.
  await Promise.race([spliced, interrupted.promise.then(() => within(endsWithinMs, spliced))])
  await new Promise((resolve) => setImmediate(resolve))
  // As rsync itself would reckon.
  const code = ended === null ? null : Math.max(ended, child.remoteExit ?? 0)
  run.signal.removeEventListener('abort', abort)
  const durationMs = performance.now() - startedAt
  const failed = code !== 0
  const outcome = run.signal.aborted ? 'aborted' : failed ? 'failed' : 'ok'
  run.emit({ type: 'step.finished', id, outcome, durationMs })
  if (!failed) return report.result()
  if (run.signal.aborted) throw run.signal.reason
  if (child.refused instanceof ConnectError && !gone) throw child.refused
  const said = `${child.remoteStderr ?? ''}${greeting ? complaint.replace(greeting.prompt, '') : complaint}`.trim()
  throw rsyncError(site, display, code, said, gone, durationMs)
}

function missingHere(): SlipwayError {
  return new SlipwayError('rsync-missing-here', 'there is no rsync on this machine', {
    state: 'Nothing was copied.',
    next: 'Install it: apt-get install rsync, or brew install rsync.',
  })
}

/** What rsync's end is told as: its exit status, and what it said. */
export function rsyncError(
  site: RsyncSite,
  display: string,
  code: number | null,
  detail: string,
  gone: Error | undefined,
  afterMs: number,
) {
  const host = site.name
  if (gone) return connectionLost(host, display, gone.message, true, afterMs)
  const state = 'What was copied before it stopped is there; the next run goes on from it.'
  if (code === 127 || /rsync: (command )?not found|rsync: No such file/.test(detail)) {
    return new SlipwayError('rsync-missing', `${host} has no rsync`, {
      host,
      detail,
      state: 'Nothing was copied.',
      next: 'Install it there: apt-get install rsync.',
    })
  }
  if (/No space left on device/.test(detail)) {
    return new SlipwayError('disk-full', `the disk of ${host} is full: ${display} stopped`, { host, detail, state })
  }
  if (code === 255) {
    return new ConnectError('channel-refused', `${display} could not start on ${host}`, { host, detail })
  }
  if (code === 23 && /change_dir|link_stat/.test(detail) && /No such file or directory/.test(detail)) {
    return new SlipwayError('rsync-source-missing', `${display}: the source does not exist`, { host, detail })
  }
  return new SlipwayError('rsync-failed', `${display} failed on ${host} with rsync's status ${code}`, {
    host,
    detail,
    state,
  })
}

/** Reads what rsync prints: itemized changes, deletions, progress and statistics, in the C locale. */
export function createReport(onProgress: (done: number, total?: number) => void = () => {}) {
  const changed: string[] = []
  const deleted: string[] = []
  const numbers = new Map<string, number>()
  let pending = ''
  const line = (text: string) => {
    if (text.startsWith('*deleting')) deleted.push(unescapeName(text.slice(9).trimStart()))
    else if (/^[<>ch.][fdLDS][.+cstpoguaxbn ?]{9} /.test(text)) {
      // A leading dot, or a directory, means attributes only: no file was sent.
      if (/^[<>c][fLDS]/.test(text)) changed.push(unescapeName(text.slice(12)))
    } else {
      const progress = /^\s*([\d,]+)\s+(\d+)%/.exec(text)
      if (progress) {
        const done = Number(progress[1]?.replaceAll(',', ''))
        const percent = Number(progress[2])
        onProgress(done, percent > 0 ? Math.round((done / percent) * 100) : undefined)
      }
      const stat = /^([A-Z][^:]+): ([\d,]+)/.exec(text)
      if (stat) numbers.set(stat[1] as string, Number(stat[2]?.replaceAll(',', '')))
    }
  }
  return {
    push(text: string) {
      pending += text
      const parts = pending.split(/[\r\n]/)
      pending = parts.pop() ?? ''
      for (const part of parts) line(part)
    },
    result(): RsyncResult {
      if (pending) line(pending)
      pending = ''
      return {
        changed,
        deleted,
        files: numbers.get('Number of files') ?? 0,
        bytesSent: numbers.get('Total transferred file size') ?? 0,
        bytesTotal: numbers.get('Total file size') ?? 0,
      }
    },
  }
}

/** In the C locale rsync prints the bytes of names that are not plain ASCII as `\#303`. */
function unescapeName(name: string): string {
  if (!name.includes('\\#')) return name
  const bytes = name.replace(/\\#(\d{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
  // Each character is a byte by now.
  return Buffer.from(bytes, 'latin1').toString('utf8')
}
