/** A backup over a deployment's data, or another deployment's data over it: the app stopped meanwhile, nothing lost. */
import { currentRun, SlipwayError, UsageError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { Deployment } from '../../deployment.ts'
import { audited, beginChange, type ChangeOn } from '../change.ts'
import type { VpsContext } from '../context.ts'
import { vpsContext } from '../create.ts'
import { findDaemon } from '../daemon.ts'
import { hostFacts } from '../facts.ts'
import { inVersion } from '../install.ts'
import { serverOf } from '../server.ts'
import { inStep } from '../step.ts'
import { isUp } from '../supervisor.ts'
import { workersOf } from '../workers.ts'
import { findBackup, type Manifest, takeBackup } from './backup.ts'
import { engineFor } from './engines.ts'
import { databaseHost } from './index.ts'

/** Restores backup `id`. Production is asked for by its name, and is backed up before. */
export async function restore(context: VpsContext, id: string): Promise<void> {
  const host = databaseHost(context)
  const manifest = await findBackup(context, id)
  await confirmOver(context, `the backup ${manifest.id}, taken ${manifest.at} of ${manifest.release}`)
  const change = await beginChange(context, host, `restore ${manifest.id}`)
  await audited(context, `restore ${manifest.id}`, async () => {
    await replaceData(context, host, change, manifest, manifest.path)
    await hooks(context, host, change, 'after_restore')
  })
}

/** Over a deployment's data goes only what was asked for by the deployment's name. */
async function confirmOver(context: VpsContext, what: string): Promise<void> {
  const { name } = context.deployment
  const run = currentRun()
  if (name !== 'production' || run.options.dryRun) return
  const sure = await run.prompter.confirmTyped(
    `This replaces the data of ${name} with ${what}. Type ${name} to go on.`,
    name,
  )
  if (!sure) throw new UsageError('not-confirmed', 'it was not confirmed', { state: 'Nothing was changed.' })
}

/** Backup of what is there, stop, put each database, migrate, start what ran. */
async function replaceData(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  manifest: Manifest,
  folder: string,
  choose: (role: 'data' | 'queue') => boolean = () => true,
): Promise<void> {
  const { release, guard } = change
  const { databases } = context.deployment.app
  const kept = `${change.facts.app.backups}/replaced-${context.deployment.name}-${currentRun().id}-${manifest.id}`
  const names = Object.keys(manifest.databases).filter((name) => databases[name] && choose(databases[name].role))
  const there = await existing(context, host, change)
  if (there) {
    await inStep('back up what is there', host.name, async () => (await takeBackup(context, host, change))?.id)
  }
  await whileStopped(context, host, change, async () => {
    const engines = await Promise.all(names.map((name) => engineFor(context, release, name)))
    await host.script(
      [
        { name: 'a folder for what is replaced', command: sh`umask 077; mkdir -p ${kept}` },
        ...engines.map((engine, index) => ({
          name: `put ${names[index]} in place`,
          command: engine.put(`${folder}/${engine.fileName}`, `${kept}/${names[index]}`),
        })),
        ...(context.deployment.app.migrate && change.facts.current
          ? [
              {
                name: `migrate: ${context.deployment.app.migrate}`,
                command: inVersion(release, change.facts.current, context.deployment.app.migrate),
              },
            ]
          : []),
      ],
      { guard },
    )
  })
}

/** Whether there is data that a backup can be taken of. */
async function existing(context: VpsContext, host: Host, change: ChangeOn): Promise<boolean> {
  const { databases } = context.deployment.app
  const files = Object.values(databases).flatMap((each) =>
    each.kind === 'sqlite' ? [`${change.release.shared}/${each.path}`] : [],
  )
  if (files.length < Object.keys(databases).length) return true
  const { exitCode } = await host.run(sh`for f in ${files}; do [ -s "$f" ] || exit 1; done`, {
    kind: 'probe',
    quiet: true,
    nothrow: true,
  })
  return exitCode === 0
}

/** Stops workers and server if they run, and starts again what ran, whatever `fn` did. */
async function whileStopped(context: VpsContext, host: Host, change: ChangeOn, fn: () => Promise<void>): Promise<void> {
  const supervisor = await findDaemon(host, change.release)
  const processes = supervisor ? await supervisor.processes() : []
  supervisor?.close()
  const serverRan = processes.some((each) => /^app-[ab]$/.test(each.name) && isUp(each))
  const workersRan = processes.some((each) => !/^app-[ab]$/.test(each.name) && isUp(each))
  if (workersRan) await workersOf(context).stop()
  if (serverRan) await serverOf(context).stop()
  try {
    await fn()
  } finally {
    // Each database was replaced whole or not at all: the app is right to run either way.
    if (serverRan) await serverOf(context).start()
    if (workersRan) await workersOf(context).start()
  }
}

async function hooks(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  name: 'after_restore' | 'after_clone',
): Promise<void> {
  const commands = context.deployment.app.hooks[name] ?? []
  const { current } = change.facts
  if (current === undefined || commands.length === 0) return
  await host.script(
    commands.map((command) => ({
      name: `${name.replace('_', ' ')}: ${command}`,
      command: inVersion(change.release, current, command),
    })),
    { guard: change.guard },
  )
}

/** This deployment's data over `target`'s, on the same host or another one; a backup of `target` is taken first. */
export async function copyTo(context: VpsContext, target: Deployment): Promise<void> {
  if (target.target === 'vps') return copyData(context, vpsContext(context.config, target.config))
  throw new UsageError(
    'other-target',
    `${target.name} runs on Heroku, and ${context.deployment.name} on hosts: the data can't be copied between them here`,
  )
}

/** Databases of data and media of one deployment over another's; queues and spools stay each where they are. */
export async function copyData(context: VpsContext, to: VpsContext): Promise<void> {
  const target = to.deployment
  if (target.name === context.deployment.name) {
    throw new UsageError('same-deployment', `${target.name} can't be copied onto itself`)
  }
  const fromHost = databaseHost(context)
  const toHost = databaseHost(to)
  await confirmOver(to, `the data of ${context.deployment.name}`)
  const fromFacts = await hostFacts(context.deployment, fromHost)
  if (!fromFacts.release)
    throw new SlipwayError('no-release', `there is no ${context.deployment.name} to copy from`, { host: fromHost.name })
  const change = await beginChange(to, toHost, `copy ${context.deployment.name} to ${target.name}`)
  if (fromFacts.release.dir === change.release.dir && fromHost.name === toHost.name) {
    throw new UsageError('same-release', `${context.deployment.name} and ${target.name} are the same release`)
  }
  await audited(to, `copy of ${context.deployment.name}`, async () => {
    const source = await beginChange(context, fromHost, `copy ${context.deployment.name} to ${target.name}`)
    const manifest = await inStep(`copy the databases of ${context.deployment.name}`, fromHost.name, () =>
      takeBackup(context, fromHost, source),
    )
    if (!manifest) return
    let folder = `${source.facts.app.backups}/${manifest.id}`
    if (fromHost.name !== toHost.name) folder = await carry(fromHost, folder, toHost, change, manifest)
    // Queues stay where they are: what production has queued must not be sent from a copy as well.
    await replaceData(to, toHost, change, manifest, folder, (role) => role === 'data')
    await copyMedia(context, fromHost, source.release.shared, toHost, change)
    await hooks(to, toHost, change, 'after_clone')
  })
}

/** Shared folders that are neither databases' nor spools: uploads of visitors, mostly. */
export function mediaFolders(app: VpsContext['deployment']['app']): string[] {
  const files = Object.values(app.databases).flatMap((each) => (each.kind === 'sqlite' ? [each.path] : []))
  return Object.entries(app.shared)
    .filter(([path, kind]) => kind === 'directory' && !app.spools.includes(path))
    .map(([path]) => path)
    .filter((path) => !files.some((file) => file.startsWith(`${path}/`)))
}

async function copyMedia(
  context: VpsContext,
  fromHost: Host,
  shared: string,
  toHost: Host,
  change: ChangeOn,
): Promise<void> {
  const folders = mediaFolders(context.deployment.app)
  if (folders.length === 0) return
  if (fromHost.name !== toHost.name) {
    currentRun().emit({ type: 'warning', text: `${folders.join(', ')} were not copied: they are on another host` })
    return
  }
  await toHost.script(
    folders.map((path) => ({
      name: `copy ${path}`,
      command: sh`[ ! -d ${shared}/${path} ] || { mkdir -p ${change.release.shared}/${path}; rsync -a --delete ${`${shared}/${path}/`} ${`${change.release.shared}/${path}/`}; }`,
    })),
    { guard: change.guard },
  )
}

/** From host to host through this process, without a file here. Checked by its checksum there. */
async function carry(
  fromHost: Host,
  folder: string,
  toHost: Host,
  change: ChangeOn,
  manifest: Manifest,
): Promise<string> {
  const there = `${change.facts.app.backups}/${manifest.id}`
  await toHost.mkdir(there, { mode: 0o700 })
  for (const [name, copy] of Object.entries(manifest.databases)) {
    await inStep(`carry ${name} from ${fromHost.name}`, toHost.name, async () => {
      const stream = fromHost.run(sh`cat ${folder}/${copy.file}`, { kind: 'probe', quiet: true }).stdout()
      const check = sh`umask 077; cat >${there}/${copy.file}; [ "$(sha256sum <${there}/${copy.file})" = ${`${copy.sha256}  -`} ]`
      await toHost.run(check, { input: stream, quiet: true, label: `receive ${name}` })
    })
  }
  return there
}
