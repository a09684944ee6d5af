/** The app's own settings on its hosts: an ini or .env file of the deployment, 0600, linked as settings/active. */
import { basename } from 'node:path'
import { currentRun, UsageError } from '../../events/index.ts'
import type { Host, ScriptStep } from '../../hosts/host.ts'
import { type Command, Secret, sh } from '../../shell/index.ts'
import type { Settings } from '../deployment.ts'
import { audited, beginChange } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { type HostFacts, hostFacts, requireRelease } from './facts.ts'
import type { ReleaseLayout } from './layout.ts'
import { readGenerated, releaseFileSteps, renderSettings, writeFile } from './release-files.ts'
import { formatOf, parseSettings, setSetting } from './settings-file.ts'
import { besideTheApp } from './step.ts'

export function settingsOf(context: VpsContext): Settings {
  return {
    get: () => get(context),
    set: (values) => set(context, values),
    diff: () => diff(context, context.home()),
    push: () => push(context),
  }
}

function requireSettings(context: VpsContext): string {
  const { settings, name } = context.deployment
  if (settings !== undefined) return settings
  throw new UsageError('no-settings', `[${name}] has no settings file`, {
    next: `Set it in ${context.config.file}: settings = ${name}.ini`,
  })
}

async function facing(
  context: VpsContext,
  host: Host,
): Promise<{ facts: HostFacts; release: ReleaseLayout; file: string }> {
  const settings = requireSettings(context)
  const facts = await hostFacts(context.deployment, host)
  const release = requireRelease(context.deployment, facts, host)
  return { facts, release, file: `${release.settings}/${basename(settings)}` }
}

/** The text on the host; its values are scrubbed from all output from here on. */
async function textOn(host: Host, file: string): Promise<string> {
  if (!(await host.exists(file))) return ''
  return host.read(file)
}

async function get(context: VpsContext): Promise<Record<string, string>> {
  const host = context.home()
  const { file } = await facing(context, host)
  return parseSettings(await textOn(host, file), formatOf(file))
}

/** Changes values in the file on every host, and keeps what it replaces beside it. Restart to take them up. */
async function set(context: VpsContext, values: Readonly<Record<string, string | null>>): Promise<string[]> {
  const changed = await onEach(context.hosts, async (host) => {
    // Locked before it is read: what another run sets meanwhile must not be lost.
    const { guard } = await beginChange(context, host, `settings of ${context.deployment.name}`)
    const { file } = await facing(context, host)
    const before = await textOn(host, file)
    const format = formatOf(file)
    const after = Object.entries(values).reduce((text, [name, value]) => setSetting(text, format, name, value), before)
    requireExact(values, parseSettings(after, format), basename(file))
    const names = differences(parseSettings(before, format), parseSettings(after, format)).map((each) => each.name)
    if (after === before) return names
    await replaceSettings(context, host, `set ${names.join(', ')}`, guard, [
      keepBefore(file),
      { name: `settings/${basename(file)}`, command: writeFile(file, new Secret(after, 'settings'), 0o600) },
    ])
    return names
  })
  return [...new Set([...changed.values()].flat())]
}

const keepBefore = (file: string): ScriptStep => ({
  name: 'keep what is replaced',
  command: sh`[ ! -f ${file} ] || { cp -p ${file} ${file}.before.new; mv -f ${file}.before.new ${file}.before; }`,
})

async function replaceSettings(
  context: VpsContext,
  host: Host,
  what: string,
  guard: Command | undefined,
  steps: readonly ScriptStep[],
): Promise<void> {
  await audited(context, what, async () => {
    await host.script(steps, { guard }).catch((error: unknown) => {
      throw besideTheApp(error, context.deployment.name, {
        lost: 'Each file of the settings is as it was, or replaced as a whole.',
        full: 'No file of the settings is half: each is as it was, or replaced as a whole.',
        look: 'diff_settings',
      })
    })
  })
}

/** A value that its file can't hold byte for byte is refused, never changed on the way. Shows no value. */
function requireExact(
  wanted: Readonly<Record<string, string | null>>,
  read: Readonly<Record<string, string>>,
  file: string,
): void {
  const wrong = Object.keys(wanted).filter((name) => wanted[name] !== (read[name] ?? null))
  if (wrong.length === 0) return
  const ini = formatOf(file) === 'ini'
  throw new UsageError('setting-not-exact', `${file} can't hold ${wrong.join(', ')} byte for byte`, {
    state: 'Nothing was changed.',
    next: ini
      ? 'An ini file knows no spaces at either end of a line and no empty lines: write JSON on one line, or anything as base64.'
      : 'Not all three kinds of quotes in one value: write it as base64.',
  })
}

interface Difference {
  name: string
  change: 'add' | 'change' | 'remove'
}

/** What turns `before` into `after`, by name. Pure. */
export function differences(
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): Difference[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names.flatMap((name): Difference[] => {
    if (before[name] === undefined) return [{ name, change: 'add' }]
    if (after[name] === undefined) return [{ name, change: 'remove' }]
    return before[name] === after[name] ? [] : [{ name, change: 'change' }]
  })
}

async function diff(context: VpsContext, host: Host): Promise<Difference[]> {
  const { facts, release, file } = await facing(context, host)
  const rendered = await renderSettings(context, facts, release, await readGenerated(context, host, facts))
  const format = formatOf(file)
  return differences(
    parseSettings(await textOn(host, file), format),
    parseSettings(rendered?.text.reveal() ?? '', format),
  )
}

/** Renders the settings anew on every host. Returns the names that changed. */
async function push(context: VpsContext): Promise<string[]> {
  const changed = await onEach(context.hosts, async (host) => {
    const names = (await diff(context, host)).map((each) => each.name)
    if (names.length === 0) return names
    const { facts, release, guard } = await beginChange(context, host, `settings of ${context.deployment.name}`)
    const { file } = await facing(context, host)
    await replaceSettings(context, host, `push ${names.join(', ')}`, guard, [
      keepBefore(file),
      ...(await releaseFileSteps(context, host, facts, release)),
    ])
    currentRun().emit({ type: 'note', host: host.name, text: 'restart_app takes them up' })
    return names
  })
  return [...new Set([...changed.values()].flat())]
}
