/**
 * The example app deployed by hand, in the layout that the first fabfile had: the code, its settings, bin/start and its
 * databases side by side in one folder.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { sandboxMarker } from '../../src/sandbox/standins.ts'
import type { World } from './world.ts'

/** Makes it in `folder`, listening on `port`, and runs bin/init and bin/start, which runs `start` in the code's folder. */
export function deployByHand(
  world: Pick<World, 'dir' | 'sandbox'>,
  { folder, port, start }: { folder: string; port: number; start: string },
): void {
  mkdirSync(`${folder}/bin`, { recursive: true })
  execFileSync('cp', ['-r', `${world.dir}/examples/pony`, `${folder}/randopony`])
  const settings = readFileSync(`${world.dir}/config/production.ini`, 'utf8').replace(/\{\{.*\}\}/, 'quite-a-secret')
  writeFileSync(`${folder}/production.ini`, settings)
  const environment = [
    `SLIPWAY_SETTINGS=${folder}/production.ini`,
    `SLIPWAY_SHARED=${folder}`,
    `PORT=${port}`,
    'PONY_CLUB_LINK=https://example.org/',
    'PONY_ORGANISER_EMAIL=a@example.org',
    'PONY_ADMIN_PASSWORD=allons-y',
  ].map((each) => `export ${each}`)
  const program = (line: string) => `#!/bin/sh\n${environment.join('\n')}\ncd ${folder}/randopony\n${line}\n`
  const scripts = { init: program('python3 -m pony.initialize_db'), start: program(start) }
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(`${folder}/bin/${name}`, text, { mode: 0o755 })
    execFileSync(`${folder}/bin/${name}`, { env: markedEnvironment(world) })
  }
}

/** With the sandbox's mark, so that nothing of it is left when that is removed. */
export const markedEnvironment = (world: Pick<World, 'sandbox'>) => ({
  ...process.env,
  ...sandboxMarker(world.sandbox.root),
})

/** Whether it answers on the port. */
export function isUp(port: number): boolean {
  try {
    const get = 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)'
    execFileSync('/usr/bin/python3', ['-c', get, `http://127.0.0.1:${port}/up`], { stdio: 'pipe' })
    return true
  } catch {
    return false
  }
}
