/** Maintenance: the site answers 503 with a page and Retry-After, while a file in its folder is there. */
import { sh } from '../../shell/index.ts'
import type { Maintenance } from '../deployment.ts'
import { audited, beginChange } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { hostFacts } from './facts.ts'
import { writeFile } from './release-files.ts'
import { evenIfAborted } from './step.ts'

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

async function turnOn(context: VpsContext, message = 'We are at work here, and back soon.'): Promise<void> {
  await onEach(context.role('web'), async (host) => {
    const { facts, guard } = await beginChange(context, host, `maintenance of ${context.deployment.name}`)
    const dir = facts.app.site(context.deployment.name)
    await host.script(
      [
        {
          name: 'the page',
          command: sh`mkdir -p ${dir}; ${writeFile(`${dir}/maintenance.html`, page(message), 0o644)}`,
        },
        { name: 'maintenance on', command: sh`: > ${dir}/maintenance.on` },
      ],
      { guard },
    )
  })
}

async function turnOff(context: VpsContext): Promise<void> {
  await onEach(context.role('web'), async (host) => {
    const { facts, guard } = await beginChange(context, host, `maintenance of ${context.deployment.name}`)
    await host.script(
      [{ name: 'maintenance off', command: sh`rm -f ${facts.app.site(context.deployment.name)}/maintenance.on` }],
      { guard },
    )
  })
}

async function isOn(context: VpsContext): Promise<boolean> {
  const host = context.role('web').first()
  const facts = await hostFacts(context.deployment, host)
  return host.exists(`${facts.app.site(context.deployment.name)}/maintenance.on`)
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
