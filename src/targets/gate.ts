/** Only what passed may be deployed: GitHub's word on a commit, or any command's. Asked before anything connects. */
import { resolveSecret } from '../config/secrets.ts'
import type { Config } from '../config/types.ts'
import { currentRun, UsageError } from '../events/index.ts'

export interface Gated {
  commit?: string
  dirty: boolean
}

/** Resolves where `gate` allows the commit. `github:OWNER/REPOSITORY`, or a command that gets $SLIPWAY_COMMIT. */
export async function checkGate(config: Config, gate: string, { commit, dirty }: Gated): Promise<void> {
  if (commit === undefined || dirty) {
    throw new UsageError(
      'gate',
      'the gate passes commits, and what would be deployed is none: the tree has changes of its own',
      {
        state: 'Nothing has connected.',
        next: 'Commit and push them, or deploy a commit with ref=….',
      },
    )
  }
  const repository = /^github:([\w.-]+\/[\w.-]+)$/.exec(gate)?.[1]
  const refusal = repository ? await askGithub(config, repository, commit) : await askCommand(config, gate, commit)
  if (refusal === undefined) return
  throw new UsageError('gate', `${commit.slice(0, 10)} may not be deployed: ${refusal}`, {
    state: 'Nothing has connected.',
    next: 'Wait for it, or correct what failed, and deploy again.',
  })
}

async function askCommand(config: Config, command: string, commit: string): Promise<string | undefined> {
  const { $ } = await import('zx')
  const environment = { ...process.env, SLIPWAY_COMMIT: commit }
  const { exitCode, stdout, stderr } = await $({
    cwd: config.dir,
    env: environment,
    quiet: true,
    nothrow: true,
    shell: 'bash',
    input: '',
  })`bash -c ${command}`
  if (exitCode === 0) return undefined
  const said = `${stdout}${stderr}`.trim().split('\n').pop()
  return `the gate's command ended with status ${exitCode}${said ? `: ${said}` : ''}`
}

/** Both of GitHub's ways to say it: commit statuses and check runs. */
async function askGithub(config: Config, repository: string, commit: string): Promise<string | undefined> {
  const base = process.env['GITHUB_API_URL'] ?? 'https://api.github.com'
  const headers: Record<string, string> = { accept: 'application/vnd.github+json', 'user-agent': 'slipway' }
  // Public repositories need no token; without one nobody is asked for it.
  const token =
    process.env['GITHUB_TOKEN'] ??
    (config.secretCommands?.['GITHUB_TOKEN'] ? (await resolveSecret(config, 'GITHUB_TOKEN')).reveal() : undefined)
  if (token) headers['authorization'] = `Bearer ${token}`
  const get = async <T>(path: string): Promise<T> => {
    const signal = AbortSignal.any([currentRun().signal, AbortSignal.timeout(20_000)])
    const answer = await fetch(`${base}/repos/${repository}/commits/${commit}/${path}`, { headers, signal })
    if (!answer.ok) throw new Error(`GitHub answered ${answer.status}`)
    return (await answer.json()) as T
  }
  try {
    const [{ state, total_count: statuses }, { check_runs: checks }] = await Promise.all([
      get<{ state: string; total_count: number }>('status'),
      get<{ check_runs: { name: string; status: string; conclusion: string | null }[] }>('check-runs?per_page=100'),
    ])
    return verdict(statuses > 0 ? state : undefined, checks)
  } catch (error) {
    currentRun().signal.throwIfAborted()
    return `GitHub could not be asked about it: ${(error as Error).message}`
  }
}

/** undefined where it passed, otherwise why not. A commit nobody has judged has not passed. Pure. */
export function verdict(
  state: string | undefined,
  checks: readonly { name: string; status: string; conclusion: string | null }[],
): string | undefined {
  if (state === undefined && checks.length === 0) return 'no check has judged it'
  const failed = checks.filter(
    (each) => each.status === 'completed' && !['success', 'neutral', 'skipped'].includes(each.conclusion ?? ''),
  )
  if (failed.length > 0) return `${failed.map((each) => each.name).join(', ')} failed`
  const waiting = checks.filter((each) => each.status !== 'completed')
  if (waiting.length > 0) return `${waiting.map((each) => each.name).join(', ')} has not finished`
  if (state !== undefined && state !== 'success') return `its status is ${state}`
  return undefined
}
