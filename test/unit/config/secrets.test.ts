import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { resolveSecret } from '../../../src/config/secrets.ts'
import { createRun, type Prompter, withRun } from '../../../src/events/index.ts'

const dir = mkdtempSync(join(tmpdir(), 'slipway-secrets-'))
writeFileSync(join(dir, '.env'), 'API_KEY="line one\nline # two"\nEMPTY=\n')
afterAll(() => rmSync(dir, { recursive: true }))

const inRun = <T>(fn: () => Promise<T>, prompter?: Prompter) => withRun(createRun({ prompter }), fn)

test('a secret of .env keeps every byte, is registered for scrubbing, and leaves the environment alone', async () => {
  const run = createRun()
  const secret = await withRun(run, () => resolveSecret({ dir }, 'API_KEY'))
  expect(secret.reveal()).toBe('line one\nline # two')
  expect([...run.secrets]).toEqual([secret])
  expect(process.env['API_KEY']).toBeUndefined()
})

test('a command gives a secret', async () => {
  const secret = await inRun(() => resolveSecret({ dir, secretCommands: { TOKEN: 'echo "a  b" $((1+1))' } }, 'TOKEN'))
  expect(secret.reveal()).toBe('a  b 2')
})

test('a failing command is named with its status, and never its output', async () => {
  const config = { dir, secretCommands: { TOKEN: 'echo leaked; echo not signed in >&2; exit 3' } }
  await expect(inRun(() => resolveSecret(config, 'TOKEN'))).rejects.toMatchObject({
    code: 'secret-command',
    message: 'the command for the secret TOKEN failed with exit status 3',
    detail: 'not signed in',
    exitCode: 2,
  })
})

test('a terminal is asked once', async () => {
  let asked = 0
  const prompter = { interactive: true, password: async () => `typed ${++asked}` } as unknown as Prompter
  const values = await inRun(
    async () => [await resolveSecret({ dir }, 'EMPTY'), await resolveSecret({ dir }, 'EMPTY')],
    prompter,
  )
  expect(values.map((secret) => secret.reveal())).toEqual(['typed 1', 'typed 1'])
})

test('a missing secret says what needs it and where to put it', async () => {
  await expect(inRun(() => resolveSecret({ dir }, 'NOPE', '[staging] settings = staging.ini'))).rejects.toMatchObject({
    code: 'no-secret',
    message: 'the secret NOPE is nowhere to be found; [staging] settings = staging.ini needs it',
    exitCode: 2,
  })
})
