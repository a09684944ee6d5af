/** The lines of the guide that go with an app, run: logs shipped, a pattern in them told of, check-ins, deploy markers. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseConfig } from '../../../src/config/load.ts'
import { blocksOf } from '../../unit/docs/blocks.ts'

const block = blocksOf('docs/guide/deployments.md').find(({ text }) => text.includes('CHECK_IN_URL')) as {
  text: string
}
const { config } = parseConfig(
  `[app]\nname = pony\nserver = exec pony\n[staging]\ntarget = vps\nhosts = web1.example.org\n${block.text}`,
  '/project',
)
const app = config?.deployments['staging']?.app

let dir: string
/** Stand-ins for what would leave this machine: each writes down how it was called. */
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-around-'))
  for (const folder of ['bin', 'logs']) mkdirSync(join(dir, folder))
  for (const name of ['curl', 'rsync', 'python3']) {
    writeFileSync(
      join(dir, 'bin', name),
      `#!/bin/sh\necho "${name} $*" >>'${dir}/called'\n[ ! -e '${dir}/'${name}-fails ]\n`,
    )
    chmodSync(join(dir, 'bin', name), 0o755)
  }
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** Runs shell text with the environment that the block asks for; resolves with the calls that were made. */
function calls(command: string | undefined): string[] {
  writeFileSync(join(dir, 'called'), '')
  const environment = Object.fromEntries(Object.keys(app?.environment ?? {}).map((name) => [name, `https://${name}`]))
  try {
    execFileSync('/bin/sh', ['-c', command ?? 'exit 9'], {
      env: { PATH: `${join(dir, 'bin')}:/usr/bin:/bin`, SLIPWAY_LOGS: join(dir, 'logs'), ...environment },
      stdio: 'pipe',
    })
  } catch {
    // What it called before is what counts.
  }
  return readFileSync(join(dir, 'called'), 'utf8').trim().split('\n').filter(Boolean)
}

test('a scheduled command checks in once it has succeeded, and not where it failed', () => {
  const job = 'python3 manage.py expire_subscriptions'
  expect(calls(app?.schedule['expire']?.command)).toEqual([job, 'curl -fsS https://CHECK_IN_URL'])
  writeFileSync(join(dir, 'python3-fails'), '')
  expect(calls(app?.schedule['expire']?.command)).toEqual([job])
})

test('a pattern in a log is told of, and nothing where it is not there', () => {
  const log = join(dir, 'logs/app.out')
  writeFileSync(log, 'all is well\n')
  expect(calls(app?.schedule['errors']?.command)).toEqual([])
  writeFileSync(log, 'all is well\nOutOfMemory: killed\n')
  expect(calls(app?.schedule['errors']?.command)).toEqual(['curl -fsS -d text=OutOfMemory https://ALERT_URL'])
})

test('logs are shipped, and a deploy is marked', () => {
  expect(calls(app?.schedule['ship']?.command)).toEqual([`rsync -a ${dir}/logs/ logs@logs.example.org:pony/`])
  expect(calls(app?.hooks.after_restart?.[0])).toEqual(['curl -fsS -X POST https://MARKER_URL'])
  expect(calls(app?.hooks.after_restart?.[1])[0]).toContain('Authorization: Bearer https://CLOUDFLARE_TOKEN')
})

test('every variable that a line uses is in the environment of the block, or the tool sets it', () => {
  const used = [...block.text.matchAll(/\$([A-Z_]+)/g)].map(([, name]) => name as string)
  const known = Object.keys(app?.environment ?? {})
  expect(used.filter((name) => !name.startsWith('SLIPWAY_') && !known.includes(name))).toEqual([])
})
