/**
 * Maintenance: the site answers 503 with a page and Retry-After, while a file in its folder is there; or the app has a
 * variable of its own.
 */
import { currentRun } from '../../events/index.ts'
import type { Host, ScriptStep } from '../../hosts/host.ts'
import { type Command, quote, sh } from '../../shell/index.ts'
import type { Maintenance } from '../deployment.ts'
import { audited, beginChange, type ChangeOn } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { hostFacts } from './facts.ts'
import { writeFile } from './release-files.ts'
import { besideTheApp, evenIfAborted } from './step.ts'

export function maintenanceOf(context: VpsContext): Maintenance {
  const on = (options: { message?: string } = {}) =>
    audited(context, 'maintenance on', () => turnOn(context, options.message))
  const off = () => audited(context, 'maintenance off', () => turnOff(context))
  return {
    on,
    off,
    status: () => isOn(context),
    async during(fn) {
      await on()
      try {
        return await fn()
      } finally {
        await evenIfAborted(off)
      }
    },
  }
}

async function turnOn(context: VpsContext, message?: string): Promise<void> {
  if (context.deployment.maintenanceVariable !== undefined) {
    if (message !== undefined) {
      currentRun().emit({
        type: 'warning',
        text: 'the app says itself what it says in maintenance: no message is shown',
      })
    }
    return setVariable(context, true)
  }
  await onEach(context.role('web'), async (host) => {
    const begun = await beginChange(context, host, `maintenance of ${context.deployment.name}`)
    const { facts, guard } = begun
    await renewSite(context, host, begun)
    const dir = facts.app.site(context.deployment.name)
    const text = page(message ?? 'We are at work here, and back soon.')
    await change(context, host, guard, [
      { name: 'the page', command: sh`mkdir -p ${dir}; ${writeFile(`${dir}/maintenance.html`, text, 0o644)}` },
      { name: 'maintenance on', command: sh`: > ${dir}/maintenance.on` },
    ])
  })
}

/** What is changed for it on a host: files of the site. */
async function change(
  context: VpsContext,
  host: Host,
  guard: Command | undefined,
  steps: readonly ScriptStep[],
): Promise<void> {
  await host.script(steps, { guard }).catch((error: unknown) => {
    throw besideTheApp(error, context.deployment.name, {
      lost: 'Maintenance is on or off: it may be as it was, or changed.',
      full: 'Maintenance is as it was.',
      look: 'status',
    })
  })
}

async function turnOff(context: VpsContext): Promise<void> {
  // The page goes, too, where the configuration has named a variable since.
  await onEach(context.role('web'), async (host) => {
    const { facts, guard } = await beginChange(context, host, `maintenance of ${context.deployment.name}`)
    const file = `${facts.app.site(context.deployment.name)}/maintenance.on`
    await change(context, host, guard, [{ name: 'maintenance off', command: sh`rm -f ${file}` }])
  })
  if (context.deployment.maintenanceVariable !== undefined) await setVariable(context, false)
}

async function isOn(context: VpsContext): Promise<boolean> {
  const host = context.role('web').first()
  const facts = await hostFacts(context.deployment, host)
  const dir = facts.app.site(context.deployment.name)
  return maintenanceIsOn(context, host, dir)
}

/** By the page, or by the app's own variable. `dir`: of the site. */
export async function maintenanceIsOn({ deployment }: VpsContext, host: Host, dir: string): Promise<boolean> {
  return host.exists(deployment.maintenanceVariable === undefined ? `${dir}/maintenance.on` : variableFile(dir))
}

/** Sourced by the start script: it outlives deploys, and follows the deployment from release to release. */
const variableFile = (dir: string): string => `${dir}/maintenance.environment`

/** Sets the app's own variable, or takes it away, and restarts the app server where that changes something. */
async function setVariable(context: VpsContext, on: boolean): Promise<void> {
  const { name, value } = context.deployment.maintenanceVariable as { name: string; value: string }
  const changed = await onEach(context.role('web'), async (host) => {
    const { facts, guard } = await beginChange(context, host, `maintenance of ${context.deployment.name}`)
    const dir = facts.app.site(context.deployment.name)
    const file = variableFile(dir)
    const text = `export ${name}=${quote(value)}\n`
    const { stdout } = await host.run(sh`cat ${file} 2>/dev/null || :`, { kind: 'probe', quiet: true })
    if (stdout === (on ? text : '')) return false
    const command = on ? sh`mkdir -p ${dir}; ${writeFile(file, text, 0o600)}` : sh`rm -f ${file}`
    await change(context, host, guard, [{ name: `maintenance ${on ? 'on' : 'off'}: ${name}`, command }])
    return true
  })
  if (![...changed.values()].includes(true)) return
  const { serverOf } = await import('./server.ts')
  const up = (await serverOf(context).status()).some((each) => each.state === 'running' || each.state === 'starting')
  if (up) await serverOf(context).restart()
}

/** Has the site let in whom the configuration names: these are read by nginx when it is reloaded, and not by a request. */
async function renewSite(context: VpsContext, host: Host, change: ChangeOn): Promise<void> {
  const { config, deployment } = context
  if (config.domains.provider !== 'nginx' || deployment.domain === undefined) return
  const file = `${change.facts.app.site(deployment.name)}/nginx.conf`
  const look = sh`grep -c _allowed ${file} 2>/dev/null || :`
  const before = await host.run(look, { kind: 'probe', quiet: true, label: 'whom the site lets in' })
  if (before.stdout.trim() === '' || (deployment.maintenanceAllow.length === 0 && before.stdout.trim() === '0')) return
  const { writeSite } = await import('./nginx.ts')
  await writeSite(context, host, change)
}

/** A page on its own: nothing else of the site answers while it is shown. */
export function page(message: string): string {
  const text = message.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Back soon</title>
<style>body { font: 1.25rem system-ui, sans-serif; max-width: 36rem; margin: 20vh auto; padding: 0 1rem }</style>
<h1>Back soon</h1>
<p>${text}</p>
</html>
`
}
