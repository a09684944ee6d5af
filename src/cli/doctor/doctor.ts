/** `slipway doctor`: everything that a deploy rests on, looked at before it does; nothing is changed. */
import type { Config } from '../../config/types.ts'
import { createRun, withRun } from '../../events/index.ts'
import { orAborted } from '../../hosts/promises.ts'
import { paintFor } from '../../output/index.ts'
import { listenForInterrupts } from '../interrupt.ts'
import type { Io } from '../io.ts'
import { projectFolder } from '../project.ts'
import { createPrompter } from '../prompter.ts'
import { type Finding, findingsText, fromError, ok } from './finding.ts'
import { projectFindings, toolFindings } from './here.ts'
import { deploymentFindings } from './running.ts'
import { hostFindings } from './there.ts'
import { tokenFindings } from './tokens.ts'

export interface DoctorOptions {
  json?: boolean
  /** Only this machine. */
  local?: boolean
  sshConfig?: string
  sandbox?: boolean
}

/** Exit status 0: nothing has to be put right; 1: something has. Rejects where it is interrupted. */
export async function doctorCommand(options: DoctorOptions, io: Io): Promise<number> {
  const projectDir = projectFolder(io.cwd)
  const sshConfigFile = options.sandbox
    ? await (await import('../../sandbox/index.ts')).sandboxSshConfig(projectDir)
    : (options.sshConfig ?? (io.env['SLIPWAY_SSH_CONFIG'] || undefined))
  const runOptions = { projectDir, ...(sshConfigFile ? { sshConfigFile } : {}) }
  const interrupts = listenForInterrupts(io.err)
  const prompter = createPrompter(io, runOptions, interrupts)
  const run = createRun({ options: runOptions, signal: interrupts.signal, prompter })
  const allFindings = async () => {
    const [tools, project] = await Promise.all([toolFindings(), projectFindings(projectDir)])
    const there = project.config && !options.local ? await thereFindings(project.config, io, sshConfigFile) : []
    return [...tools, ...project.findings, ...there]
  }
  const findings = await withRun(run, async () => {
    try {
      // What fails because it was interrupted is nothing to put right.
      return await orAborted(interrupts.signal, allFindings())
    } finally {
      await run.finish()
      interrupts.dispose()
    }
  })
  const failed = findings.some(({ state }) => state === 'failure')
  if (options.json) io.out(`${JSON.stringify({ v: 1, ok: !failed, findings }, undefined, 2)}\n`)
  else io.out(findingsText(findings, paintFor(io.stdout, io.env)))
  return failed ? 1 : 0
}

async function thereFindings(config: Config, io: Io, sshConfigFile: string | undefined): Promise<Finding[]> {
  const [hosts, heroku] = await Promise.all([hostFindings(config, sshConfigFile), herokuFindings(config, io)])
  const deaf = heroku.some(({ state }) => state === 'failure')
  const deployments = Object.fromEntries(
    Object.entries(config.deployments).filter(([, { target }]) => target === 'vps' || !deaf),
  )
  const [tokens, running] = await Promise.all([
    tokenFindings(config, hosts.reached),
    deploymentFindings({ ...config, deployments }, hosts.reached),
  ])
  return [...hosts.findings, ...heroku, ...tokens, ...running]
}

/** Whether Heroku takes the token: it is asked whose it is. */
async function herokuFindings(config: Config, io: Io): Promise<Finding[]> {
  if (!Object.values(config.deployments).some(({ target }) => target === 'heroku')) return []
  try {
    const [{ herokuClient }, { account }] = await Promise.all([
      import('../../targets/heroku/client.ts'),
      import('../../targets/heroku/resources.ts'),
    ])
    const { email } = await herokuClient(io.env).get('/account', account)
    return [ok('heroku', `the token is ${email}'s`)]
  } catch (error) {
    return [fromError('heroku', error)]
  }
}
