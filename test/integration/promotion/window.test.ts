/** The window's script by itself, without a promotion around it: what going back leaves alone. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { decodeEntries, encodeEntry, mayHaveHappened, stepRecords } from '../../../src/engine/index.ts'
import type { JournalEntry } from '../../../src/engine/types.ts'
import { scriptFiles } from '../../../src/targets/vps/promotion/window.ts'
import { until } from '../hosts/inrun.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-window-'))
  for (const [name, text] of Object.entries(scriptFiles())) writeFileSync(join(dir, name), text)
  writeFileSync(join(dir, 'closed'), '')
})
afterEach(() => rmSync(dir, { recursive: true }))

const at = new Date().toISOString()
const step = (id: string, kind: string, more: object) => ({ id, kind, window: true, ...more })
const flip = () => step('flip', 'flip', { links: [{ path: join(dir, 'current'), target: 'new' }] })

/** Runs the script on a journal; resolves with what it printed to standard error. */
function run(verb: string, steps: ReturnType<typeof step>[], journal?: JournalEntry[]): string {
  return script([verb], steps, journal).stderr
}

function script(words: string[], steps: ReturnType<typeof step>[], journal?: JournalEntry[], kept: object = {}) {
  const path = join(dir, 'change.journal')
  if (journal) writeFileSync(path, journal.map(encodeEntry).join(''))
  const spec = { id: 'c1', journal: path, deadline: 1, pointOfNoReturn: 'flip', steps: [...steps, flip()] }
  writeFileSync(join(dir, 'spec.json'), JSON.stringify(spec))
  return spawnSync('/usr/bin/python3', [join(dir, 'window.py'), ...words], {
    encoding: 'utf8',
    input: JSON.stringify(kept),
  })
}
const entries = () => decodeEntries(readFileSync(join(dir, 'change.journal'), 'utf8'))

it('takes nothing back of a step that failed before it was begun: what lies in its place is not its own', () => {
  const to = join(dir, 'stray.sqlite')
  writeFileSync(to, 'from somebody else')
  const steps = [
    step('hold', 'close', { file: join(dir, 'closed') }),
    step('copy', 'copy', { items: [{ kind: 'sqlite', from: join(dir, 'old.sqlite'), to }] }),
  ]
  // Held so long ago that the window is over before it copies.
  const held: JournalEntry[] = [
    { entry: 'intent', at, step: 'hold', direction: 'do', data: { heldAt: 0 } },
    { entry: 'outcome', at, step: 'hold', direction: 'do', ok: true, durationMs: 1 },
  ]
  expect(run('forward', steps, held)).toContain('the window was open for longer than 1 s')
  expect(readFileSync(to, 'utf8')).toBe('from somebody else')
  expect(existsSync(join(dir, 'closed'))).toBe(false)
  const records = stepRecords(entries())
  expect(records.get('copy')?.error).toContain('open for longer')
  expect(['hold', 'copy', 'flip'].filter((id) => mayHaveHappened(records.get(id)))).toEqual([])
  // As a script that was not done going back left its journal.
  const failed = { entry: 'outcome', at, step: 'copy', direction: 'do', ok: false, durationMs: 0 } as const
  expect(run('back', steps, [...held, failed])).toBe('')
  expect(readFileSync(to, 'utf8')).toBe('from somebody else')
})

it('keeps what has come into a place meanwhile, beside what it puts back there', () => {
  const [from, to] = [join(dir, 'pony.sqlite'), join(dir, 'away.sqlite')]
  writeFileSync(to, 'what was there')
  writeFileSync(from, 'from somebody else')
  writeFileSync(`${from}-journal`, 'and its journal')
  const done: JournalEntry[] = [
    { entry: 'intent', at, step: 'archive', direction: 'do' },
    { entry: 'outcome', at, step: 'archive', direction: 'do', ok: true, durationMs: 1 },
  ]
  const moves = ['', '-journal'].map((companion) => ({ from: from + companion, to: to + companion }))
  expect(run('back', [step('archive', 'move', { moves })], done)).toBe('')
  expect(readFileSync(from, 'utf8')).toBe('what was there')
  // A journal that is not its own would spoil a database.
  expect(existsSync(`${from}-journal`)).toBe(false)
  const beside = readdirSync(dir).filter((name) => name.startsWith('pony.sqlite.stray-c1-'))
  expect(beside.map((name) => readFileSync(join(dir, name), 'utf8')).sort()).toEqual([
    'and its journal',
    'from somebody else',
  ])
})

it('takes back a rehearsal whose copies the window has begun to use, and makes another over what was left of one', () => {
  const mail = join(dir, 'mail')
  const database = join(dir, 'pony.sqlite.earlier')
  for (const folder of [mail, `${mail}.earlier`]) mkdirSync(folder)
  writeFileSync(join(mail, 'new'), 'a letter')
  writeFileSync(join(`${mail}.earlier`, 'old'), 'a letter that is gone')
  const tree = { kind: 'tree', name: 'mail', from: mail, to: `${mail}.earlier` }
  const rehearse = (...items: object[]) => [step('rehearse', 'rehearse', { items, window: false })]
  const both = rehearse({ kind: 'sqlite', name: 'main', from: join(dir, 'pony.sqlite'), to: database }, tree)
  const intent: JournalEntry = { entry: 'intent', at, step: 'rehearse', direction: 'do' }
  const done: JournalEntry = { entry: 'outcome', at, step: 'rehearse', direction: 'do', ok: true, durationMs: 1 }
  // The database's copy was renamed to what the window makes of it.
  expect(JSON.parse(script(['state', 'rehearse'], both, [intent, done]).stdout).state).toBe('unclear')
  expect(JSON.parse(script(['undo', 'rehearse'], both).stdout).state).toBe('todo')
  expect(existsSync(`${mail}.earlier`)).toBe(false)
  // What lies there is of a change that was given up.
  mkdirSync(`${mail}.earlier`)
  writeFileSync(join(`${mail}.earlier`, 'old'), 'a letter that is gone')
  const begin: JournalEntry = { entry: 'note', at, text: 'begun' }
  expect(JSON.parse(script(['state', 'rehearse'], rehearse(tree), [begin]).stdout).state).toBe('todo')
  expect(JSON.parse(script(['do', 'rehearse'], rehearse(tree), [intent]).stdout).state).toBe('done')
  expect(readdirSync(`${mail}.earlier`)).toEqual(['new'])
})

it('starts again what was deployed by hand and has yet to end, and waits for that only where it was told to', async () => {
  const site = join(dir, 'site')
  mkdirSync(site)
  // It has work to finish, of six seconds.
  const program = 'import signal, time; signal.signal(15, lambda *_: (time.sleep(6), exit())); time.sleep(600)'
  const app = spawn('/usr/bin/python3', ['-c', program], { cwd: site, stdio: 'ignore' })
  const ended = new Promise((resolve) => app.once('exit', resolve))
  const spec = { folder: site, files: [], stop: null, start: `: >${join(dir, 'started')}`, seconds: 60 }
  const stop = [step('stop', 'stop-adopted', spec)]
  const intent: JournalEntry = { entry: 'intent', at, step: 'stop', direction: 'do' }
  await until(() => JSON.parse(script(['state', 'stop'], stop, [intent]).stdout).state === 'todo')
  const running = JSON.parse(script(['state', 'stop'], stop).stdout).prepared
  // Nobody told it: nothing to wait for, and nothing to start.
  const began = Date.now()
  expect(script(['undo', 'stop'], stop, [intent], running).stderr).toBe('')
  expect(Date.now() - began).toBeLessThan(4000)
  expect(existsSync(join(dir, 'started'))).toBe(false)
  const stopping = spawn('/usr/bin/python3', [join(dir, 'window.py'), 'do', 'stop'])
  stopping.stdin.end('{}')
  await until(() => existsSync(join(dir, 'told-stop')))
  stopping.kill('SIGKILL')
  app.kill('SIGTERM')
  expect(script(['undo', 'stop'], stop, undefined, running).stderr).toBe('')
  await ended
  expect(existsSync(join(dir, 'started'))).toBe(true)
})
