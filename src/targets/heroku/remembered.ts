/**
 * How many dynos a stopped type had. The platform keeps no such thing and a config var would make a release, so it is
 * kept beside the run logs, and asked of the platform's own log where another machine stopped it.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { currentRun } from '../../events/run.ts'
import type { HerokuContext } from './context.ts'
import { recentLines } from './logs.ts'

const fileOf = (context: HerokuContext): string =>
  join(context.config.dir, '.slipway', 'heroku', context.app, 'scale.json')

export async function rememberScale(context: HerokuContext, sizes: Readonly<Record<string, number>>): Promise<void> {
  if (currentRun().options.dryRun) return
  const file = fileOf(context)
  await mkdir(dirname(file), { recursive: true })
  const known = await kept(context)
  await writeFile(`${file}.new`, JSON.stringify({ ...known, ...sizes }))
  await rename(`${file}.new`, file)
}

async function kept(context: HerokuContext): Promise<Record<string, number>> {
  try {
    return JSON.parse(await readFile(fileOf(context), 'utf8')) as Record<string, number>
  } catch {
    return {}
  }
}

/** Sizes by type: the last above 0 that this machine, or else the platform's log (`Scaled to web@2:Basic`), knows. */
export async function readScale(context: HerokuContext): Promise<Record<string, number>> {
  const fromLog: Record<string, number> = {}
  for (const line of await recentLines(context, { dyno: 'api' }, 1500).catch(() => [])) {
    const scaled = /Scaled to (.+?) by user/.exec(line)?.[1]
    for (const match of scaled?.matchAll(/(\w[\w-]*)@(\d+):/g) ?? []) {
      if (Number(match[2]) > 0) fromLog[match[1] as string] = Number(match[2])
    }
  }
  return { ...fromLog, ...(await kept(context)) }
}
