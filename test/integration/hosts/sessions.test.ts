/** Servers with room for few sessions: a channel kept ahead of the next command must not be the one too many. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { host } from '../../../src/hosts/index.ts'
import { inRun } from './inrun.ts'
import { startSshd } from './sshd.ts'

it.each([1, 2, 10])('commands, files and rsync work where a server allows %i sessions', async (sessions) => {
  const source = mkdtempSync(join(tmpdir(), 'slipway-sessions-'))
  writeFileSync(join(source, 'f'), 'from here')
  const sshd = await startSshd({ config: `MaxSessions ${sessions}` })
  try {
    await inRun(sshd, async () => {
      const h = host('test')
      for (let command = 0; command < 4; command++) expect(await h.$`echo ${command}`.text()).toBe(String(command))
      await h.rsync({ source: `${source}/`, destination: '~/copied' })
      expect(await h.read('~/copied/f')).toBe('from here')
      const together = await Promise.all(Array.from({ length: 6 }, (_each, index) => h.$`echo ${index}`.text()))
      expect(together).toEqual(['0', '1', '2', '3', '4', '5'])
    })
  } finally {
    await sshd.stop()
    rmSync(source, { recursive: true, force: true })
  }
})
