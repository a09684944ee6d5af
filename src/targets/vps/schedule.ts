/** Scheduled commands: a section of ours in the crontab of the host's user; every other line stays as it is. */
import { SlipwayError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { quote, sh } from '../../shell/index.ts'
import type { Schedule } from '../deployment.ts'
import { audited, beginChange } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { backupScript, backupScriptFile } from './database/scheduled.ts'
import { hostFacts, requireRelease } from './facts.ts'
import type { ReleaseLayout } from './layout.ts'
import { besideTheApp } from './step.ts'

interface Entry {
  name: string
  when: string
  command: string
}

export function scheduleOf(context: VpsContext): Schedule {
  return { list: () => list(context), push: () => push(context) }
}

const begin = (app: string, deployment: string): string =>
  `# ${app} ${deployment}: written by slipway, changes are lost`
const end = (app: string, deployment: string): string => `# ${app} ${deployment}: end`

/** The section of a deployment. `%` is a newline in a crontab, and is escaped. Pure. */
export function section(
  app: string,
  deployment: string,
  release: ReleaseLayout,
  entries: readonly Entry[],
  backups?: string,
): string[] {
  const line = ({ name, when, command }: Entry): string => {
    const run = `/bin/sh ${quote(release.start)} scheduled ${quote(deployment)} ${quote(command.replaceAll('\n', ' '))} >>${quote(`${release.logs}/schedule.out`)} 2>&1 # ${name}`
    return `${when} ${run.replaceAll('%', '\\%')}`
  }
  const boot = `@reboot /bin/sh ${quote(`${release.bin}/boot`)} >>${quote(`${release.logs}/boot.out`)} 2>&1`.replaceAll(
    '%',
    '\\%',
  )
  const rotate =
    `*/10 * * * * /bin/sh ${quote(`${release.bin}/rotate`)} >>${quote(`${release.logs}/rotate.out`)} 2>&1`.replaceAll(
      '%',
      '\\%',
    )
  const backup = `${backups} /bin/sh ${quote(backupScriptFile(release))} >>${quote(`${release.logs}/backup.out`)} 2>&1`
  return [
    begin(app, deployment),
    boot,
    rotate,
    ...(backups === undefined ? [] : [backup.replaceAll('%', '\\%')]),
    ...entries.map(line),
    end(app, deployment),
  ]
}

/** `crontab` with the section of a deployment replaced; other lines byte for byte. Pure. */
export function withSection(crontab: string, app: string, deployment: string, lines: readonly string[]): string {
  const all = crontab === '' ? [] : crontab.replace(/\n$/, '').split('\n')
  const from = all.indexOf(begin(app, deployment))
  const to = all.indexOf(end(app, deployment), from)
  if (from < 0) all.push(...lines)
  else all.splice(from, (to < 0 ? from : to) - from + 1, ...lines)
  return all.length === 0 ? '' : `${all.join('\n')}\n`
}

/** What a section says, read back. Pure. */
export function readSection(crontab: string, app: string, deployment: string): Entry[] {
  const all = crontab.split('\n')
  const from = all.indexOf(begin(app, deployment))
  if (from < 0) return []
  return all.slice(from + 1, all.indexOf(end(app, deployment), from)).flatMap((line) => {
    const backup = /^(@\w+|\S+\s+\S+\s+\S+\s+\S+\s+\S+) \/bin\/sh (\S+\/bin\/backup) /.exec(line)
    if (backup) return [{ name: 'backups', when: backup[1] as string, command: backup[2] as string }]
    const match = /^(@\w+|\S+\s+\S+\s+\S+\s+\S+\s+\S+) \/bin\/sh \S+ (?:run|scheduled \S+) (.*) >>.* # (\S+)$/.exec(
      line,
    )
    if (!match) return []
    const [, when, command, name] = match as unknown as [string, string, string, string]
    return [
      {
        name,
        when,
        command: command
          .replaceAll('\\%', '%')
          .replace(/^'(.*)'$/, '$1')
          .replaceAll(`'\\''`, "'"),
      },
    ]
  })
}

async function crontab(host: Host): Promise<string> {
  const { stdout, stderr, exitCode } = await host.run('crontab -l', { kind: 'probe', quiet: true, nothrow: true })
  if (exitCode === 0) return stdout
  if (/no crontab/.test(stderr)) return ''
  throw new SlipwayError('crontab', `the crontab of ${host.name} can't be read`, {
    host: host.name,
    detail: stderr.trim(),
  })
}

async function list(context: VpsContext): Promise<Entry[]> {
  const { app, name } = context.deployment
  const hosts = new Map([context.home(), context.role('database').first()].map((host) => [host.name, host]))
  const texts = await Promise.all([...hosts.values()].map(crontab))
  return texts.flatMap((text) => readSection(text, app.name, name))
}

async function push(context: VpsContext): Promise<boolean> {
  const { app, name } = context.deployment
  const entries = Object.entries(app.schedule).map(([each, { when, command }]) => ({ name: each, when, command }))
  const changed = await onEach(context.hosts, async (host) => {
    // Scheduled commands run once, not once a host; every host comes back after its reboot.
    const here = host.name === context.home().name ? entries : []
    const before = await crontab(host)
    const facts = await hostFacts(context.deployment, host)
    const release = requireRelease(context.deployment, facts, host)
    const backup = await backupScript(context, host, facts, release)
    const at = backup === undefined ? undefined : context.deployment.backups
    const after = withSection(before, app.name, name, section(app.name, name, release, here, at))
    const steps = backup === undefined || (await isThere(host, backup)) ? [] : backup.steps
    if (after === before && steps.length === 0) return false
    const { guard } = await beginChange(context, host, `schedule of ${name}`)
    await audited(context, 'schedule', async () => {
      try {
        if (steps.length > 0) {
          const folders = { name: 'folders', command: sh`mkdir -p ${release.bin} ${release.logs}` }
          await host.script([folders, ...steps], { guard })
        }
        if (after === before) return
        await host.run(after === '' ? 'crontab -r' : 'crontab -', { input: after, label: 'write the crontab' })
      } catch (error) {
        throw besideTheApp(error, name, {
          lost: 'The crontab is as it was, or has the new section; other lines are as they were.',
          full: 'The crontab is as it was.',
          look: 'schedule',
        })
      }
    })
    return true
  })
  return [...changed.values()].includes(true)
}

async function isThere(host: Host, { file, text }: { file: string; text: string }): Promise<boolean> {
  const { stdout } = await host.run(sh`cat ${file} 2>/dev/null || :`, { kind: 'probe', quiet: true })
  return stdout === text
}
