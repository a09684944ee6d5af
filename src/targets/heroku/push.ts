/**
 * A deploy by `git push`: the commit goes to the app's own git repository, whose output is the build's. The token
 * reaches git through a credential helper that reads it from git's environment: it is in no argument, URL or file.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { OutcomeUnknownError, SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun, throwIfAborted } from '../../events/run.ts'
import type { DeployOptions } from '../deployment.ts'
import type { HerokuContext } from './context.ts'
import * as resource from './resources.ts'
import { git } from './source.ts'
import { findToken } from './token.ts'

/** The commit to be pushed, and how people call it. */
export interface Commit {
  dir: string
  commit: string
  what: string
}

/** The commit at `ref`, or at HEAD. Refuses what git can't push: no repository, a folder of one, a shallow one, changes. */
export async function commitToPush(context: HerokuContext, options: DeployOptions = {}): Promise<Commit> {
  const dir = join(context.config.dir, context.deployment.app.source)
  const { name, branch } = context.deployment
  const bySource = `Or deploy without git's history: \`deploy_by = source\` under [${name}].`
  if ((await git(dir, 'rev-parse', '--is-inside-work-tree')) !== 'true') {
    throw new UsageError('not-git', `[${name}] deploys by git, and ${dir} is not in git`, {
      next: `git init, and commit. ${bySource}`,
    })
  }
  if (await git(dir, 'rev-parse', '--show-prefix')) {
    throw new UsageError('git-folder', `${dir} is a folder of its repository; git pushes all of it`, {
      state: 'Nothing was pushed.',
      next: bySource,
    })
  }
  if ((await git(dir, 'rev-parse', '--is-shallow-repository')) === 'true') {
    throw new UsageError('shallow-clone', `${dir} is a shallow clone, which Heroku's git refuses`, {
      state: 'Nothing was pushed.',
      next: `git fetch --unshallow. ${bySource}`,
    })
  }
  const ref = options.ref ?? 'HEAD'
  const commit = await git(dir, 'rev-parse', '--verify', '--quiet', `${ref}^{commit}`)
  if (!commit) {
    throw new UsageError('no-ref', `git has no ${ref === 'HEAD' ? 'commit' : ref} here`, {
      state: 'Nothing was pushed.',
      next: 'Commit, or name a branch, a tag or a commit that `git log` shows.',
    })
  }
  if (options.ref !== undefined) return { dir, commit, what: `${ref} at ${commit.slice(0, 7)}` }
  const head = (await git(dir, 'rev-parse', '--abbrev-ref', 'HEAD')) ?? 'HEAD'
  if (branch !== undefined && head !== branch) {
    throw new UsageError('wrong-branch', `this is the branch ${head}; ${name} deploys ${branch}`, {
      state: 'Nothing was pushed.',
      next: `git switch ${branch}, or name what to deploy: ref=${head}`,
    })
  }
  const dirty = await git(dir, 'status', '--porcelain')
  if (dirty && !options.allowDirty) {
    throw new UsageError('dirty-tree', 'there are changes that are not committed, and git pushes commits', {
      detail: dirty.split('\n').slice(0, 10).join('\n'),
      state: 'Nothing was pushed.',
      next: 'Commit them, or give allow_dirty: the last commit is deployed then.',
    })
  }
  return { dir, commit, what: `${head} at ${commit.slice(0, 7)}` }
}

/** Where an app's git repository is: the platform's word, or below HEROKU_GIT_URL. */
export async function gitUrl(context: HerokuContext): Promise<string> {
  const base = context.env['HEROKU_GIT_URL']
  if (base) return `${base.replace(/\/+$/, '')}/${encodeURIComponent(context.app)}.git`
  return (await context.client.get(context.path, resource.app)).git_url
}

export interface Pushed {
  /** What the platform builds of it; undefined where it had the commit already, so that nothing was built. */
  build: resource.Build | undefined
  /** The last lines of its output. */
  tail: string
  /** Whether all of the output was shown: the connection held to the end. */
  shown: boolean
}

/** Pushes and shows what the remote says. Resolves once git has ended; what it built may have failed. */
export async function pushCommit(context: HerokuContext, { dir, commit }: Commit): Promise<Pushed> {
  const run = currentRun()
  const url = await gitUrl(context)
  // Forced, as the source is that of this commit whatever was there: going back to an older one is a deploy too.
  const refspec = `+${commit}:refs/heads/main`
  const display = `git push ${url} ${refspec}`
  const known = new Set((await builds(context)).map((each) => each.id))
  const made = async (): Promise<resource.Build | undefined> =>
    (await builds(context))
      .filter((each) => !known.has(each.id) && (each.source_blob.version ?? commit) === commit)
      .sort((a, b) => a.created_at.localeCompare(b.created_at))
      .at(-1)
  const id = randomBytes(4).toString('hex')
  const begun = performance.now()
  run.emit({ type: 'command.started', id, host: context.app, display, kind: 'write', quiet: false })
  const ended = await runGit(context, dir, url, refspec, (text) =>
    run.emit({ type: 'command.output', id, host: context.app, stream: 'stdout', text, quiet: false }),
  )
  run.emit({
    type: 'command.finished',
    id,
    host: context.app,
    exitCode: ended.code,
    signal: null,
    durationMs: performance.now() - begun,
  })
  throwIfAborted(run)
  const tail = ended.said.split('\n').slice(-20).join('\n').trim()
  if (ended.code === 0 && /^=\t/m.test(ended.report)) return { build: undefined, tail, shown: true }
  const build = await made()
  if (build) return { build, tail, shown: ended.code === 0 || /^!\t/m.test(ended.report) }
  if (ended.code === 0) {
    throw new OutcomeUnknownError('heroku-no-build', `${context.app}: git pushed, and Heroku shows no build of it`, {
      host: context.app,
      detail: tail,
      next: 'See `tasks versions` before you deploy again.',
    })
  }
  throw refused(context, ended.code, ended.report, ended.words, tail)
}

/** After Ctrl-C: the builds of this commit that go on though nobody reads their output. */
export async function buildsUnderWay(context: HerokuContext, commit: string): Promise<resource.Build[]> {
  return (await builds(context)).filter((each) => each.status === 'pending' && each.source_blob.version === commit)
}

const builds = (context: HerokuContext): Promise<resource.Build[]> =>
  context.client.list(`${context.path}/builds`, resource.build)

/** git's refusal as a sentence of its own. Nothing was built. */
function refused(context: HerokuContext, code: number, report: string, words: string, tail: string): SlipwayError {
  const { app } = context
  const about = { host: app, detail: tail || words.trim(), state: 'Nothing was pushed; the app runs on as it was.' }
  if (/Authentication failed|could not read (Username|Password)|returned error: 401/i.test(words)) {
    return new SlipwayError('heroku-git-token', `Heroku's git does not accept the token for ${app}`, {
      ...about,
      next: 'Run `tasks heroku_login`, or set HEROKU_API_KEY to a token that `heroku authorizations:create` printed.',
    })
  }
  if (/returned error: 403|not found/i.test(words)) {
    return new SlipwayError('heroku-git-access', `this account may not push to ${app}`, {
      ...about,
      next: `Ask its owner for \`heroku access:add YOU@… --app ${app}\`, or deploy what you may: check \`app =\`.`,
    })
  }
  const reason = /^!\t[^\t]*\t(.*)$/m.exec(report)?.[1]
  if (reason !== undefined) {
    return new SlipwayError('heroku-push-refused', `Heroku's git refused the push to ${app}: ${reason}`, {
      ...about,
      next: 'Do what it says, and deploy again.',
    })
  }
  return new SlipwayError('heroku-push-failed', `git could not push to ${app} (status ${code})`, {
    ...about,
    next: 'Check the network and https://status.heroku.com, and deploy again.',
  })
}

interface Ended {
  code: number
  /** The remote's own words, as people read them. */
  said: string
  /** git's: what it complains of. */
  words: string
  /** A line a ref, with tabs: `=` is there already, `!` was refused. */
  report: string
}

async function runGit(
  context: HerokuContext,
  dir: string,
  url: string,
  refspec: string,
  show: (text: string) => void,
): Promise<Ended> {
  const run = currentRun()
  const token = await findToken(context.env)
  const { origin } = new URL(url)
  const options = [
    // Only this helper, only for this server; a server that redirects elsewhere gets nothing.
    ['credential.helper', ''],
    [`credential.${origin}.helper`, ''],
    [
      `credential.${origin}.helper`,
      `!f() { test "$1" = get && printf 'username=slipway\\npassword=%s\\n' "$SLIPWAY_GIT_TOKEN"; }; f`,
    ],
    ['http.followRedirects', 'false'],
  ].flatMap(([name, value]) => ['-c', `${name}=${value}`])
  // Without the project's hooks, which would have the token in their environment; a gate is what checks a deploy.
  const args = [...options, '-C', dir, 'push', '--no-verify', '--porcelain', '--no-progress', url, refspec]
  const child = spawn('git', args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...withoutTraces(context.env),
      LC_ALL: 'C',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: 'true',
      SLIPWAY_GIT_TOKEN: token.reveal(),
    },
  })
  const stop = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM')
    } catch {
      // It has ended already.
    }
  }
  run.signal.addEventListener('abort', stop, { once: true })
  if (run.signal.aborted) stop()
  let said = ''
  let words = ''
  let report = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (report += text))
  const line = (text: string): void => {
    const remote = /^remote: ?(.*?)\s*$/.exec(text)
    if (remote) {
      said += `${remote[1]}\n`
      show(`${remote[1]}\n`)
    } else words += `${text}\n`
  }
  let rest = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split(/\r?\n|\r/)
    rest = lines.pop() ?? ''
    for (const each of lines) line(each)
  })
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (status) => resolve(status ?? 1))
    })
    if (rest !== '') line(rest)
    return { code, said, words, report }
  } catch (cause) {
    throw new UsageError('no-git', 'git is not installed here, and `deploy_by = git` needs it', {
      cause,
      state: 'Nothing was pushed.',
      next: 'Install git, or set `deploy_by = source`.',
    })
  } finally {
    run.signal.removeEventListener('abort', stop)
  }
}

/** git's traces would show what it sends. */
const withoutTraces = (env: HerokuContext['env']): Record<string, string | undefined> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !/^GIT_(TRACE|CURL_VERBOSE)/.test(name)))
