/**
 * Makes the uploaded version ready and current, each part a step that is shown. Until the switch nothing of the
 * running app is touched; the switch is one rename that is read back.
 */

import type { HookName } from '../../config/types.ts'
import { currentRun, OutcomeUnknownError, restated, SlipwayError, UsageError } from '../../events/index.ts'
import { ScriptError } from '../../hosts/errors.ts'
import type { Host, ScriptStep, StepResult } from '../../hosts/host.ts'
import { type Command, sh } from '../../shell/index.ts'
import type { InstallOptions, Version } from '../deployment.ts'
import { type AuditNote, audited, beginChange, type ChangeOn } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { fullDisk } from './database/app-commands.ts'
import { forgetFacts, noteFacts, withRecord } from './facts.ts'
import type { ReleaseLayout } from './layout.ts'
import { switchCurrent, writeRecord } from './live.ts'
import { appliedFile, listCommand } from './migrations.ts'
import { folderStep, generates, releaseFileSteps, requireSecrets, settingsBefore, writeFile } from './release-files.ts'
import { formatRoles } from './roles.ts'
import { inStep, lostDuring } from './step.ts'
import { asVersion, installable, type VersionRecord } from './version.ts'

/** Shell text run in the folder of version `id`, with the environment that its programs have. */
export function inVersion(release: ReleaseLayout, id: string, command: string, start = release.start): Command {
  return sh`SLIPWAY_VERSION=${id} /bin/sh ${start} run ${command}`
}

export async function install(context: VpsContext, options: InstallOptions = {}): Promise<Version> {
  await requireSecrets(context)
  let version: Version | undefined
  return audited(
    context,
    'install',
    async (note) => {
      try {
        version =
          [...context.hosts].length === 1
            ? await installOn(context, context.home(), options, note)
            : await installOnSeveral(context, options)
      } catch (error) {
        throw lostDuring(
          error,
          'The running app goes on with the version that it runs. Its migrations may be done, under way or not begun, and the new version may be the current one.',
          `When the host can be reached, look at \`tasks versions:release=${context.deployment.name}\`; installing again is right in each case.`,
        )
      }
      await cloneOnDeploy(context).catch((error: unknown) => {
        throw withoutClone(error, version?.id ?? '')
      })
      return version
    },
    () => version?.commit,
  )
}

/** `clone_on_deploy = production`: its data comes along with every deploy, and is migrated by the new version. */
async function cloneOnDeploy(context: VpsContext): Promise<void> {
  const name = context.deployment.cloneOnDeploy
  if (name === undefined || currentRun().options.dryRun) return
  const from = context.config.deployments[name]
  if (from?.target !== 'vps') {
    throw new UsageError(
      'other-target',
      `clone_on_deploy = ${name}: it does not run on hosts, and ${context.deployment.name} does`,
    )
  }
  const [{ copyData }, { vpsContext }] = await Promise.all([import('./database/clone.ts'), import('./create.ts')])
  await copyData(vpsContext(context.config, from), context)
}

/** The data did not come along; but the install was over. */
function withoutClone(error: unknown, id: string): unknown {
  if (!(error instanceof SlipwayError)) return error
  const data = error.state === undefined ? '' : ` Of the data: ${error.state}`
  const state = `The version ${id} is installed, and the current one: a restart takes it up.${data}`
  const lost = lostDuring(error, state, error.next ?? 'Install again when the host can be reached.')
  return lost === error ? restated(error, state) : lost
}

/** What an install on one host works with. */
interface Installing {
  host: Host
  change: ChangeOn
  record: VersionRecord
  /** The record as it is once it is installed. */
  installed: VersionRecord
}

/** The uploaded version on a host; undefined in a dry run, which uploaded none. */
async function beginInstall(context: VpsContext, host: Host): Promise<Installing | undefined> {
  const change = await beginChange(context, host, `install ${context.deployment.name}`)
  if (context.deployment.services === 'systemd') {
    const { requireSystemd } = await import('./systemd.ts')
    await requireSystemd(host)
  }
  const record = installable(change.facts.records)
  if (record) {
    const installed: VersionRecord = {
      ...record,
      state: record.state === 'live' ? 'live' : 'installed',
      installedAt: new Date().toISOString(),
      deployment: context.deployment.name,
    }
    return { host, change, record, installed }
  }
  if (currentRun().options.dryRun) return undefined
  throw new SlipwayError('nothing-uploaded', `there is no uploaded version in ${change.release.name} on ${host.name}`, {
    host: host.name,
    state: 'Nothing was changed.',
    next: 'Upload the code first: `tasks rsync_code`.',
  })
}

/** The version's folder, files and commands: nothing that another host or the running app would notice. */
async function readySteps(
  context: VpsContext,
  { host, change, record }: Installing,
  options: InstallOptions,
): Promise<ScriptStep[]> {
  const { facts, release } = change
  return [
    folderStep(context, facts, release),
    ...prepareSteps(context, change, record, options),
    ...(await releaseFileSteps(context, host, facts, release, record.id)),
    ...installSteps(context, release, record.id),
    ...sharedWritesStep(context, change, record.id),
  ]
}

/** What is applied is listed before and after, for a rollback of the schema. */
function schemaSteps(context: VpsContext, { change: { facts, release }, record }: Installing): ScriptStep[] {
  return [
    ...(facts.current !== undefined && facts.current !== record.id
      ? recordMigrations(context, release, facts.current)
      : []),
    ...migrateSteps(context, release, record.id, migrateCommand),
    ...recordMigrations(context, release, record.id),
  ]
}

const currentSteps = (context: VpsContext, { change, record, installed }: Installing): ScriptStep[] => [
  writeRecord(change.release, installed, 'record that it is installed'),
  ...switchSteps(context, change, record.id),
]

async function noteInstalled(context: VpsContext, { host, change: { facts, release }, record, installed }: Installing) {
  await noteFacts(context.deployment, host, {
    current: record.id,
    records: withRecord(facts.records, installed),
    roles: { ...facts.roles, [context.deployment.name]: release.name },
    hasGenerated: facts.hasGenerated || generates(context),
  })
}

const installTitle = ({ change, record }: Installing): string => `install ${record.id} in ${change.release.name}`

/** On the only host: one script for all of it. */
async function installOn(context: VpsContext, host: Host, options: InstallOptions, note?: AuditNote): Promise<Version> {
  const installing = await beginInstall(context, host)
  if (!installing) return heldBack(context)
  const { change, record } = installing
  // With a clone to come, it is not over yet.
  const log = context.deployment.cloneOnDeploy === undefined ? note?.entry(change.facts, record.commit) : undefined
  const steps = [
    ...(await readySteps(context, installing, options)),
    ...schemaSteps(context, installing),
    ...currentSteps(context, installing),
    ...(log
      ? [{ name: 'a line in the audit log', command: sh`umask 077; printf '%s' ${log[1]} >> ${log[0]}`, nothrow: true }]
      : []),
  ]
  try {
    await inStep(installTitle(installing), host.name, async () => {
      const results = await host.script(steps, { guard: change.guard })
      tellSharedWrites(host, results)
      if (log && note && !currentRun().options.dryRun) note.left = results.at(-1)?.exitCode === 0
    })
  } catch (error) {
    throw await afterFailure(context, installing, error, options)
  }
  await noteInstalled(context, installing)
  return asVersion(installing.installed, record.id)
}

/**
 * On several: made ready everywhere, migrated once, by the first host, and then made current everywhere. What fails on
 * one is taken back on all.
 */
async function installOnSeveral(context: VpsContext, options: InstallOptions): Promise<Version> {
  const begun = await onEach(context.hosts, (host) => beginInstall(context, host))
  const all = [...begun.values()].filter((each) => each !== undefined)
  const first = all.find((each) => each.host.name === context.home().name)
  if (!first) return heldBack(context)
  const failed: { installing: Installing; error: unknown }[] = []
  const onAll = (part: string, stepsOf: (installing: Installing) => ScriptStep[] | Promise<ScriptStep[]>) =>
    onEach(context.hosts, async (host) => {
      const installing = begun.get(host)
      if (installing) await on(installing, part, await stepsOf(installing))
    })
  const on = async (installing: Installing, part: string, steps: ScriptStep[]): Promise<void> => {
    if (steps.length === 0) return
    try {
      await inStep(`${installTitle(installing)}: ${part}`, installing.host.name, async () => {
        const results = await installing.host.script(steps, { guard: installing.change.guard })
        tellSharedWrites(installing.host, results)
      })
    } catch (error) {
      failed.push({ installing, error })
      throw error
    }
  }
  try {
    await onAll('make it ready', (installing) => readySteps(context, installing, options))
    await on(first, 'migrate', schemaSteps(context, first))
    await onAll('make it current', (installing) => currentSteps(context, installing))
  } catch (error) {
    const [cause] = failed
    if (!cause) throw error
    const told = await afterFailure(context, cause.installing, cause.error, options)
    for (const installing of all) {
      if (installing !== cause.installing) await afterFailure(context, installing, cause.error, options)
    }
    throw told
  }
  for (const installing of all) await noteInstalled(context, installing)
  return asVersion(first.installed, first.record.id)
}

function heldBack(context: VpsContext): Version {
  return {
    id: 'held-back',
    state: 'installed',
    current: false,
    wasLive: false,
    by: '',
    at: new Date().toISOString(),
    description: `a dry run of ${context.deployment.name}`,
  }
}

/** What comes before the commands: the host's own template away, shared paths and links in place. Pure. */
function prepareSteps(
  context: VpsContext,
  change: Pick<ChangeOn, 'release'>,
  record: Pick<VersionRecord, 'id'>,
  options: InstallOptions,
): ScriptStep[] {
  const { app } = context.deployment
  const { release } = change
  const dir = release.version(record.id)
  return [
    ...app.remove.map((path) => ({
      name: `remove the host's ${path}`,
      command: sh`case ${`${path}/`} in versions/*|current/*|shared/*|settings/*|bin/*|etc/*|run/*|logs/*|.slipway/*) echo 'this is not a template of the host' >&2; exit 1;; esac
[ ! -L ${`${release.dir}/${path}`} ] || exit 0
rm -rf ${`${release.dir}/${path}`}`,
    })),
    ...(options.fresh ? [{ name: 'a fresh environment', command: sh`rm -rf ${dir}/.venv ${dir}/node_modules` }] : []),
    ...Object.entries(app.shared).flatMap(([path, kind]) => sharedSteps(release, dir, path, kind)),
    ...app.spools.map((path) => ({ name: `shared/${path}`, command: sh`mkdir -p ${release.shared}/${path}` })),
    ...Object.values(app.databases).flatMap((database) =>
      database.kind === 'sqlite' && database.path.includes('/')
        ? [
            {
              name: `a folder for ${database.path}`,
              command: sh`mkdir -p ${`${release.shared}/${database.path.slice(0, database.path.lastIndexOf('/'))}`}`,
            },
          ]
        : [],
    ),
    ...Object.entries(app.modes).map(([path, mode]) => ({
      name: `mode ${mode.toString(8).padStart(3, '0')} for ${path}`,
      command: sh`chmod ${mode.toString(8).padStart(3, '0')} ${`${dir}/${path}`}`,
    })),
    ...Object.entries(app.links).map(([link, target]) => ({
      name: `${link} → current/${target}`,
      command: sh`[ -L ${`${release.dir}/${link}`} ] || [ ! -e ${`${release.dir}/${link}`} ] || { echo 'something that is not a link is in its place' >&2; exit 1; }
ln -sfn ${`current/${target}`} ${`${release.dir}/${link}`}`,
    })),
  ]
}

function sharedSteps(
  release: ReleaseLayout,
  dir: string,
  path: string,
  kind: 'required' | 'seed' | 'template' | 'directory',
): ScriptStep[] {
  const shared = `${release.shared}/${path}`
  const inside = `${dir}/${path}`
  const parent = (each: string) => each.slice(0, each.lastIndexOf('/'))
  const provide: Record<typeof kind, Command> = {
    directory: sh`mkdir -p ${shared}`,
    required: sh`[ -e ${shared} ] || { echo ${`shared/${path} is required, and is not there: put it at ${shared}`} >&2; exit 1; }`,
    seed: sh`[ -e ${shared} ] || { mkdir -p ${parent(shared)}; cp -a ${inside} ${shared}; }`,
    template: sh`[ -e ${shared} ] || { mkdir -p ${parent(shared)}; cp -a ${`${inside}.template`} ${shared}; }`,
  }
  return [
    {
      name: `shared ${path}`,
      command: sh`${provide[kind]}
mkdir -p ${parent(inside)}
[ "$(readlink ${inside} 2>/dev/null)" = ${shared} ] || { rm -rf ${inside}; ln -s ${shared} ${inside}; }`,
    },
  ]
}

const hook = (context: VpsContext, release: ReleaseLayout, id: string, name: HookName): ScriptStep[] =>
  (context.deployment.app.hooks[name] ?? []).map((command) => ({
    name: `${name.replace('_', ' ')}: ${command}`,
    command: inVersion(release, id, command),
  }))

/** Install and build, with their hooks, in the new version's folder. Pure. */
function installSteps(context: VpsContext, release: ReleaseLayout, id: string): ScriptStep[] {
  const { app } = context.deployment
  const step = (command: string): ScriptStep => ({ name: command, command: inVersion(release, id, command) })
  return [
    ...hook(context, release, id, 'before_install'),
    ...app.install.map(step),
    ...app.build.map(step),
    ...hook(context, release, id, 'after_install'),
  ]
}

const sharedWrites = 'look for files that were written in place'

/** Unchanged files are links to those of the version before: what a command writes into one is changed there, too. */
function sharedWritesStep(context: VpsContext, { facts, release }: ChangeOn, id: string): ScriptStep[] {
  const { app } = context.deployment
  const before = facts.current
  if (before === undefined || before === id || app.install.length + app.build.length === 0) return []
  // Package managers and compilers make links of their own: what counts is that the other version has the same file.
  const command = sh`cd ${release.version(id)}; find . -type f -links +1 -newer ${release.versionRecord(id)} | while IFS= read -r f; do
[ ! "$f" -ef ${release.version(before)}/"$f" ] || printf '%s\n' "$f"; done | head -n 5`
  return [{ name: sharedWrites, command, nothrow: true, hidden: true }]
}

function tellSharedWrites(host: Host, results: readonly StepResult[]): void {
  if (currentRun().options.dryRun) return
  const said = results.find(({ name }) => name === sharedWrites)?.stdout.trim() ?? ''
  if (said === '') return
  const files = said.split('\n').map((path) => path.replace(/^\.\//, ''))
  currentRun().emit({
    type: 'warning',
    host: host.name,
    text: `install or build wrote into uploaded files, which the version before has too, and now has like that: ${files.join(', ')}. Have them removed and made anew, or leave them out of the upload (exclude).`,
  })
}

/** The migration between its hooks; none where no command is configured. */
export function migrateSteps(
  context: VpsContext,
  release: ReleaseLayout,
  id: string,
  command: typeof migrateCommand = (_, ...of) => inVersion(...of),
): ScriptStep[] {
  const { migrate } = context.deployment.app
  if (migrate === undefined) return []
  return [
    ...hook(context, release, id, 'before_migrate'),
    { name: `migrate: ${migrate}`, command: command(context, release, id, migrate) },
    ...hook(context, release, id, 'after_migrate'),
  ]
}

/** A first install comes before its database is made: there is nothing to migrate then. */
function migrateCommand(context: VpsContext, release: ReleaseLayout, id: string, migrate: string): Command {
  const files = Object.values(context.deployment.app.databases).flatMap((database) =>
    database.kind === 'sqlite' && database.role === 'data' ? [`${release.shared}/${database.path}`] : [],
  )
  const run = inVersion(release, id, migrate)
  if (files.length === 0) return run
  return sh`for f in ${files}; do [ -s "$f" ] || { echo "no database yet: $f"; exit 0; }; done
${run}`
}

/** Keeps with the version what is applied now, before and after the new one's migrations; where that can't be told, a rollback of the schema will say so. */
export function recordMigrations(context: VpsContext, release: ReleaseLayout, id: string): ScriptStep[] {
  const list = listCommand(context.deployment.app.migrations)
  if (list === undefined) return []
  const file = appliedFile(release, id)
  return [
    {
      name: `record the migrations that ${id} has`,
      command: sh`${inVersion(release, id, list)} >${file}.new 2>/dev/null && mv -f ${file}.new ${file} || rm -f ${file}.new`,
    },
  ]
}

function switchSteps(context: VpsContext, { facts, release }: ChangeOn, id: string): ScriptStep[] {
  const { deployment } = context
  return [
    ...hook(context, release, id, 'before_switch'),
    { name: `current → ${id}`, command: switchCurrent(release, id) },
    ...(facts.roles[deployment.name] === release.name
      ? []
      : [
          {
            name: `remember that ${release.name} is ${deployment.name}`,
            command: writeFile(
              facts.app.roles,
              formatRoles({ ...facts.roles, [deployment.name]: release.name }),
              0o644,
            ),
          },
        ]),
    ...hook(context, release, id, 'after_switch'),
  ]
}

/** Marks the version as failed, puts `current` back, and removes the remains unless they are to be kept. */
async function afterFailure(
  context: VpsContext,
  { host, change, record }: Installing,
  error: unknown,
  options: InstallOptions,
): Promise<unknown> {
  forgetFacts(context.deployment, host)
  if (error instanceof OutcomeUnknownError || !(error instanceof ScriptError) || error.step === undefined) return error
  const { release, facts, guard } = change
  const keep = options.keepFailed || currentRun().options.keepFailed || record.wasLive
  const before = facts.current !== undefined && facts.current !== record.id ? facts.current : undefined
  const onFailure = hook(context, release, record.id, 'on_failure')
  const first = facts.current === undefined
  // On a full disk nothing can be written until the remains are gone; and whatever of this fails, what is told is why
  // the install did.
  const steps = [
    ...onFailure,
    ...(before ? [{ name: `current → ${before}`, command: switchCurrent(release, before) }] : []),
    ...(first ? [{ name: 'no current version', command: sh`rm -f ${release.current}` }] : []),
    settingsBefore(release, record.id),
    ...(keep ? [] : [{ name: `remove ${record.id}`, command: sh`rm -rf ${release.version(record.id)}` }]),
    ...(record.wasLive ? [] : [writeRecord(release, { ...record, state: 'failed' }, 'mark it as failed')]),
    ...(before
      ? [
          {
            name: 'the start script of before',
            command: sh`[ ! -f ${release.versionStart(before)} ] || cp -p ${release.versionStart(before)} ${release.start}`,
          },
        ]
      : []),
  ]
  const results = await host.script(
    steps.map((step) => ({ ...step, nothrow: true })),
    { guard, quiet: true },
  )
  for (const { name, exitCode, stderr } of results) {
    if (exitCode === 0) continue
    const why = stderr.trim().split('\n').at(-1)
    currentRun().emit({
      type: 'warning',
      host: host.name,
      text: `after the failure: ${name} failed too${why ? `: ${why}` : ''}`,
    })
  }
  const detail = error.detail ?? (`${error.step.stdout}${error.step.stderr}`.trim() || undefined)
  const full = fullDisk(detail)
  const what = `the install of ${record.id} failed on ${host.name}: ${error.step.name}${full}`
  return new SlipwayError('install-failed', what, {
    host: host.name,
    cause: error,
    detail,
    state: `The running app is untouched${before ? `, and ${before} is still the current version` : ''}. ${keep ? `What is left lies in ${release.version(record.id)}.` : 'The failed version was removed.'}`,
    next: full
      ? `Make room there, and deploy again: \`tasks prune:release=${context.deployment.name}\`, or look with \`du -xh ~ | sort -h | tail\`.`
      : keep
        ? 'Correct it, and deploy again.'
        : 'Correct it, and deploy again; --keep-failed leaves the remains for a look.',
  })
}
