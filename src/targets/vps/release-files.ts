/**
 * The files that the tool writes into a release for the deployment it serves: settings, environment, start script,
 * supervisord's configuration. As script steps, so that install, and whatever changes a release's role, does all of
 * it in one round trip.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { resolveSecret, resolveText } from '../../config/secrets.ts'
import { currentRun } from '../../events/index.ts'
import type { Host, ScriptStep, StepResult } from '../../hosts/host.ts'
import { type Command, quote, Secret, sh } from '../../shell/index.ts'
import type { VpsContext } from './context.ts'
import { programPrefix } from './daemon.ts'
import type { HostFacts } from './facts.ts'
import type { ReleaseLayout } from './layout.ts'
import { replaceLink } from './live.ts'
import { type Program, programs } from './programs.ts'
import { settingsShown } from './settings-shown.ts'
import { fillSettings, placeholders } from './settings-text.ts'
import { render, startData, supervisorData } from './templates.ts'

/** Writes `content` beside `path` and renames it there. The content travels on standard input, never as an argument. */
export function writeFile(path: string, content: string | Secret, mode: number): Command {
  const secret = typeof content === 'string' ? new Secret(content, basename(path)) : content
  const octal = mode.toString(8).padStart(3, '0')
  return sh`umask 077; printf '%s' ${secret} > ${path}.new; chmod ${octal} ${path}.new; mv -f ${path}.new ${path}`
}

/** The app's own settings, rendered; undefined where the deployment names none. */
export async function renderSettings(
  context: VpsContext,
  facts: HostFacts,
  release: ReleaseLayout,
  generated: Record<string, string>,
): Promise<{ file: string; text: Secret; shown(text: string): string } | undefined> {
  const { deployment, config } = context
  if (deployment.settings === undefined) return undefined
  const file = `config/${deployment.settings}`
  const template = readFileSync(join(config.dir, file), 'utf8')
  const found = placeholders(template, file)
  const secrets = new Map<string, string>()
  for (const { source, name } of found) {
    if (source === 'secret') secrets.set(name, (await resolveSecret(config, name, file)).reveal())
    if (source === 'generate' && generated[name] === undefined) generated[name] = randomBytes(32).toString('hex')
  }
  for (const [name, value] of Object.entries(generated)) currentRun().secrets.add(new Secret(value, name))
  const { listen } = deployment.app
  const text = fillSettings(template, file, {
    values: {
      app: deployment.app.name,
      deployment: deployment.name,
      release: release.name,
      release_dir: release.dir,
      shared: release.shared,
      logs: release.logs,
      home: facts.home,
      domain: deployment.domain,
      port: listen.kind === 'port' ? String(listen.port) : undefined,
      socket: listen.kind === 'socket' ? facts.app.currentSocket(deployment.name) : undefined,
    },
    secret: (name) => secrets.get(name) as string,
    generated: (name) => generated[name] as string,
  })
  return { file: basename(deployment.settings), text: new Secret(text, file), shown: settingsShown(template) }
}

/** Whether a deployment's settings have values that are made once and kept on the host. */
export function generates(context: VpsContext): boolean {
  const { deployment, config } = context
  if (deployment.settings === undefined) return false
  const file = `config/${deployment.settings}`
  return placeholders(readFileSync(join(config.dir, file), 'utf8'), file).some((each) => each.source === 'generate')
}

const generatedFile = (facts: HostFacts, deployment: string): string => `${facts.app.dir}/generated/${deployment}.json`

const generatedAhead = (context: VpsContext, host: Host): { text?: string } =>
  currentRun().memo(`vps generated ${context.deployment.name} ${host.name}`, () => ({}))

/** Reads the generated values along with something else: its result is for `keepGenerated`. */
export function generatedStep(context: VpsContext, facts: HostFacts): ScriptStep[] {
  if (!generates(context) || !facts.hasGenerated) return []
  const command = sh`cat ${generatedFile(facts, context.deployment.name)}`
  return [{ name: generatedName, command, nothrow: true, hidden: true }]
}

const generatedName = 'read the generated values'

/** The next `readGenerated` takes what is among `results`. */
export function keepGenerated(context: VpsContext, host: Host, results: readonly StepResult[]): void {
  const read = results.find((each) => each.name === generatedName)
  if (read?.exitCode === 0) generatedAhead(context, host).text = read.stdout
}

/** The values made once for this deployment, as its host keeps them. */
export async function readGenerated(
  context: VpsContext,
  host: Host,
  facts: HostFacts,
): Promise<Record<string, string>> {
  if (!generates(context) || !facts.hasGenerated) return {}
  const ahead = generatedAhead(context, host)
  const text = ahead.text ?? (await host.read(generatedFile(facts, context.deployment.name)))
  ahead.text = undefined
  return JSON.parse(text) as Record<string, string>
}

/** `export NAME='value'` lines, secrets resolved; and what shows them without those. */
async function environmentText(context: VpsContext): Promise<{ text: Secret; shown(text: string): string }> {
  const lines: string[] = []
  const template: string[] = []
  for (const [name, value] of Object.entries(context.deployment.app.environment)) {
    const resolved = await resolveText(context.config, value, `[${context.deployment.name}.environment] ${name}`)
    const plain = typeof resolved === 'string'
    lines.push(`export ${name}=${quote(plain ? resolved : resolved.reveal())}\n`)
    template.push(`export ${name}=${plain ? quote(resolved) : '{{ secret: }}'}\n`)
  }
  return { text: new Secret(lines.join(''), 'environment'), shown: settingsShown(template.join('')) }
}

/** Resolves every secret that the deployment's files need, so that a missing one is told before anything connects. */
export async function requireSecrets(context: VpsContext, options: { init?: boolean } = {}): Promise<void> {
  const { deployment, config } = context
  await environmentText(context)
  if (options.init && deployment.app.initDb !== undefined) {
    for (const [variable, value] of Object.entries(deployment.app.initAnswers ?? {})) {
      await resolveText(config, value, `[app.init_answers] ${variable}`)
    }
  }
  if (deployment.settings === undefined) return
  const file = `config/${deployment.settings}`
  for (const { source, name } of placeholders(readFileSync(join(config.dir, file), 'utf8'), file)) {
    if (source === 'secret') await resolveSecret(config, name, file)
  }
}

/** The settings that `version` replaces, until another version replaces its own: a version that fails gives them back. */
const keepSettings = (release: ReleaseLayout, file: string, version: string): ScriptStep => ({
  name: `keep the settings that ${version} replaces`,
  command: sh`cd ${release.settings}; rm -f *.replaced-by-*; [ ! -f ${file} ] || cp -p ${file} ${file}.replaced-by-${version}`,
})

/** Gives back the settings that `version` has replaced; nothing where it has not, or another one has since. */
export const settingsBefore = (release: ReleaseLayout, version: string): ScriptStep => ({
  name: `the settings that ${version} replaced`,
  command: sh`cd ${release.settings} 2>/dev/null || exit 0
for f in *.replaced-by-${version}; do [ ! -f "$f" ] || mv -f "$f" "\${f%.replaced-by-*}"; done`,
})

/** What tells the daemon of a release of its programs. */
export async function serviceSteps(
  context: VpsContext,
  facts: HostFacts,
  release: ReleaseLayout,
  wanted: readonly Program[],
): Promise<ScriptStep[]> {
  if (context.deployment.services === 'systemd') {
    const { unitSteps } = await import('./systemd.ts')
    return unitSteps(release, wanted, facts.home)
  }
  const system = context.deployment.systemSupervisor
  if (!system) {
    const conf = await render(context.config.dir, 'supervisord.conf', supervisorData(release, wanted))
    return [
      {
        name: 'etc/supervisord.conf',
        command: writeFile(release.supervisorConf, conf, 0o600),
        writes: { path: release.supervisorConf, text: conf },
      },
    ]
  }
  const account = { user: facts.user, home: facts.home, prefix: programPrefix(context, release) }
  const conf = await render(context.config.dir, 'supervisord.conf', supervisorData(release, wanted, account))
  const path = systemConf(system.conf, release)
  return [
    {
      name: path,
      command: sh`[ -w ${system.conf} ] || { echo ${`the account may not write to ${system.conf}: tasks setup_host shows what root does`} >&2; exit 1; }
${writeFile(path, conf, 0o644)}`,
      writes: { path, text: conf },
    },
  ]
}

/** The release's file among those of the system's supervisord. */
const systemConf = (folder: string, release: ReleaseLayout): string => `${folder}/slipway-${release.name}.conf`

/** The start script of the release for this deployment, as text. It knows every worker, whatever their numbers are. */
async function startScript(context: VpsContext, release: ReleaseLayout): Promise<string> {
  const { app } = context.deployment
  const one = Object.fromEntries(Object.keys(app.workers).map((name) => [name, 1]))
  return render(
    context.config.dir,
    'start',
    startData({
      app: app.name,
      deployment: context.deployment.name,
      layout: release,
      programs: programs(app, one),
      port: app.listen.kind === 'port' ? app.listen.port : undefined,
    }),
  )
}

/** What the crontab calls after a reboot. */
const bootScript = (context: VpsContext, facts: HostFacts, release: ReleaseLayout): Promise<string> =>
  render(context.config.dir, 'boot', {
    release: release.name,
    dir: release.dir,
    appDir: facts.app.dir,
    services: context.deployment.services,
    system: context.deployment.systemSupervisor && {
      socket: context.deployment.systemSupervisor.socket,
      conf: systemConf(context.deployment.systemSupervisor.conf, release),
    },
  })

/** Bytes that a log of a program may have before it is rotated, and how many old ones are kept. */
const logBytes = 10 * 1024 * 1024
const logsKept = 5

const rotateScript = (context: VpsContext, facts: HostFacts, release: ReleaseLayout): Promise<string> =>
  render(context.config.dir, 'rotate', {
    appLogs: Object.values(context.deployment.app.logs).filter((path) => !/^logs\/[^/]+\.out$/.test(path)),
    siteDir: context.config.domains.provider === 'nginx' ? facts.app.site(context.deployment.name) : undefined,
    release: release.name,
    dir: release.dir,
    ownDaemon: context.deployment.services === 'supervisor' && !context.deployment.systemSupervisor,
    bytes: logBytes,
    kept: logsKept,
  })

/** Creates the folders of a release and of its app; changes nothing where they are. */
export function folderStep(context: VpsContext, facts: HostFacts, release: ReleaseLayout): ScriptStep {
  const { deployment } = context
  const folders = [
    release.versions,
    release.shared,
    release.bin,
    release.etc,
    release.run,
    release.logs,
    release.versionRecords,
    release.wanted,
    facts.app.site(deployment.name),
  ]
  return {
    name: 'make the folders',
    command: sh`mkdir -p ${folders}; (umask 077; mkdir -p ${release.settings} ${`${facts.app.dir}/generated`})`,
  }
}

/**
 * Everything that points the release at `context`'s deployment: its settings and the link to them, its environment,
 * the start script, supervisord's configuration.
 */
export async function releaseFileSteps(
  context: VpsContext,
  host: Host,
  facts: HostFacts,
  release: ReleaseLayout,
  version?: string,
): Promise<ScriptStep[]> {
  const { deployment } = context
  const generated = await readGenerated(context, host, facts)
  const kept = JSON.stringify(generated)
  const settings = await renderSettings(context, facts, release, generated)
  const wanted = programs(deployment.app, facts.scale)
  const start = await startScript(context, release)
  const environment = await environmentText(context)
  const [boot, rotate] = [await bootScript(context, facts, release), await rotateScript(context, facts, release)]
  const [environmentFile, bootFile, rotateFile] = [
    `${release.settings}/${deployment.name}.environment`,
    `${release.bin}/boot`,
    `${release.bin}/rotate`,
  ]
  const backup =
    deployment.backups === undefined
      ? undefined
      : await (await import('./database/scheduled.ts')).backupScript(context, host, facts, release)
  return [
    ...(JSON.stringify(generated) === kept
      ? []
      : [
          {
            name: 'keep the generated values',
            command: writeFile(
              generatedFile(facts, deployment.name),
              new Secret(JSON.stringify(generated), 'generated'),
              0o600,
            ),
          },
        ]),
    ...(settings
      ? [
          ...(version === undefined ? [] : [keepSettings(release, settings.file, version)]),
          {
            name: `settings/${settings.file}`,
            command: writeFile(`${release.settings}/${settings.file}`, settings.text, 0o600),
            writes: {
              path: `${release.settings}/${settings.file}`,
              text: settings.text.reveal(),
              shown: settings.shown,
            },
          },
          { name: `settings/active → ${settings.file}`, command: replaceLink(settings.file, release.activeSettings) },
        ]
      : []),
    {
      name: 'environment',
      command: writeFile(environmentFile, environment.text, 0o600),
      writes: { path: environmentFile, text: environment.text.reveal(), shown: environment.shown },
    },
    {
      name: 'bin/start',
      command: writeFile(release.start, start, 0o700),
      writes: { path: release.start, text: start },
    },
    { name: 'bin/boot', command: writeFile(bootFile, boot, 0o700), writes: { path: bootFile, text: boot } },
    { name: 'bin/rotate', command: writeFile(rotateFile, rotate, 0o700), writes: { path: rotateFile, text: rotate } },
    ...(backup?.steps ?? []),
    // Before the crontab has a line for it, each install keeps the logs bounded.
    { name: 'rotate long logs', command: sh`/bin/sh ${`${release.bin}/rotate`}`, nothrow: true },
    ...(version === undefined
      ? []
      : [
          {
            name: 'keep the start script of this version',
            command: sh`cp -p ${release.start} ${release.versionStart(version)}`,
          },
        ]),
    ...(await serviceSteps(context, facts, release, wanted)),
  ]
}
