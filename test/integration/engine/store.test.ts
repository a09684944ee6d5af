import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { encodeEntry } from '../../../src/engine/index.ts'
import type { BeginEntry } from '../../../src/engine/journal.ts'
import type { ChangeStore, Owner } from '../../../src/engine/types.ts'
import { AbortedError, createRun, withRun } from '../../../src/events/index.ts'
import { local } from '../../../src/hosts/index.ts'
import { quote } from '../../../src/shell/index.ts'
import { evenIfAborted } from '../../../src/targets/vps/step.ts'
import { vpsStore } from '../../../src/targets/vps/store/index.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync('/tmp/slipway-store-')
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const ann: Owner = { run: 'run-ann', user: 'ann', machine: 'laptop', command: 'tasks deploy_staging' }
const bob: Owner = { run: 'run-bob', user: "bob o'neil", machine: 'desk', command: 'tasks promote "x"' }
const at = '2026-11-27T10:00:00.000Z'
const beginOf = (id: string, locks = ['production', 'staging'], by = ann): BeginEntry => ({
  entry: 'begin',
  id,
  kind: 'promote',
  locks,
  at,
  title: 'pony: ü becomes "production"',
  by,
  facts: { list: ['locks', { deep: true }] },
  steps: ['a', 'b'],
})

/** In a run of its own, on the host's shell with a home of its own. */
function as<T>(work: (store: ChangeStore) => Promise<T>): Promise<T> {
  return withRun(createRun(), () => work(vpsStore(local().env({ HOME: home }), 'pony')))
}
const journalFile = (id: string) => `${home}/.slipway/pony/journals/${id}.journal`
const lockFile = (scope: string) => `${home}/.slipway/pony/locks/${scope}.lock`

it('keeps no secret: not in locks, journals and audit lines, in no encoding', async () => {
  const fragment = 'Sentinel7Fragment'
  const secret = `é'"\\$\`x ${fragment} &<>%+/=~!*(ü)#;|`
  const forms = [
    secret,
    JSON.stringify(secret),
    JSON.stringify(JSON.stringify(secret)),
    quote(secret),
    encodeURIComponent(secret),
    new URLSearchParams({ p: secret }).toString(),
    ...['', 'x', 'xy'].flatMap((before) =>
      (['base64', 'base64url'] as const).map((encoding) => Buffer.from(before + secret).toString(encoding)),
    ),
  ]
  const run = createRun()
  run.secrets.add({ reveal: () => secret })
  await withRun(run, async () => {
    const store = vpsStore(local().env({ HOME: home }), 'pony')
    const owner = { ...ann, command: `tasks --token ${forms.join(' ')}` }
    await store.lock(['staging'], owner)
    const journal = await store.begin({ ...beginOf('j9', ['staging'], owner), title: `with ${secret}` })
    await journal.append({ at, entry: 'intent', step: 'a', direction: 'do', data: { kept: 'as it is' } })
    for (const form of forms) {
      await journal.append({
        at,
        entry: 'outcome',
        step: 'a',
        direction: 'do',
        ok: false,
        durationMs: 1,
        error: `migrate said: ${form}`,
      })
      await journal.append({ at, entry: 'note', text: `refused ${form}` })
    }
    await store.audit({
      at,
      run: 'r',
      who: 'ann',
      what: 'deploy',
      deployment: 'staging',
      outcome: 'failed',
      detail: forms.join('\n'),
    })
    expect((await journal.entries()).length).toBe(2 + 2 * forms.length)
    expect((await store.audits(5))[0]).toMatchObject({ outcome: 'failed', detail: expect.stringContaining('•••') })
  })
  const kept = readdirSync(join(home, '.slipway'), { recursive: true, encoding: 'utf8' })
    .map((name) => join(home, '.slipway', name))
    .filter((file) => statSync(file).isFile())
  expect(kept.length).toBeGreaterThanOrEqual(3)
  const pieces = forms.slice(-6).map((form) => form.slice(4, -4))
  for (const file of kept) {
    const text = readFileSync(file, 'utf8')
    for (const piece of [fragment, ...pieces]) expect(text, file).not.toContain(piece)
  }
  expect(readFileSync(journalFile('j9'), 'utf8')).toContain('migrate said: •••')
})

describe('locks', () => {
  it('are taken all or none, and say whose they are', async () => {
    await as((store) => store.lock(['staging'], ann))
    await expect(as((store) => store.lock(['staging', 'production'], bob))).rejects.toMatchObject({
      code: 'locked',
      holder: { user: 'ann', machine: 'laptop', scope: 'staging', command: 'tasks deploy_staging' },
      message: expect.stringMatching(/staging is locked by ann on laptop .* for \d+ seconds/),
    })
    expect(existsSync(lockFile('production'))).toBe(false)
  })

  it('are held until the last who took them in the run lets go', async () => {
    await as(async (store) => {
      const outer = await store.lock(['staging'], ann)
      const inner = await store.lock(['staging'], ann)
      await inner.release()
      expect(existsSync(lockFile('staging'))).toBe(true)
      await outer.release()
      expect(existsSync(lockFile('staging'))).toBe(false)
    })
  })

  it('are let go of where the run was interrupted before it heard that it has them', async () => {
    const stop = new AbortController()
    const run = createRun({ signal: stop.signal })
    await withRun(run, async () => {
      const host = local().env({ HOME: home })
      const store = vpsStore(host, 'pony')
      const outer = await store.lock(['production'], ann)
      const asking = store.lockWith(['staging', 'production'], ann, async (script) => {
        await host.run(script, { quiet: true })
        expect(existsSync(lockFile('staging'))).toBe(true)
        stop.abort()
        throw new AbortedError()
      })
      await expect(asking).rejects.toMatchObject({ code: 'aborted' })
      expect(existsSync(lockFile('staging'))).toBe(false)
      // What it had before stays until whoever took it lets go.
      expect(existsSync(lockFile('production'))).toBe(true)
      await evenIfAborted(() => outer.release())
      expect(existsSync(lockFile('production'))).toBe(false)
    })
  })

  it('are released by their owner alone', async () => {
    await as(async (store) => {
      const lock = await store.lock(['staging'], ann)
      await store.breakLock('staging', bob)
      await as((other) => other.lock(['staging'], bob))
      await lock.release()
    })
    await expect(as((store) => store.holder('staging'))).resolves.toMatchObject({ user: "bob o'neil" })
  })

  it('when broken say whose they were, leave a line in the audit log, and stop their owner at the next change', async () => {
    await as(async (store) => {
      await store.lock(['production', 'staging'], ann)
      const journal = await store.begin(beginOf('j1'))
      await expect(as((other) => other.breakLock('production', bob))).resolves.toMatchObject({ user: 'ann' })
      await expect(journal.append({ at, entry: 'note', text: 'on' })).rejects.toMatchObject({ code: 'lock-lost' })
    })
    const [line] = await as((store) => store.audits(5))
    expect(line).toMatchObject({ who: "bob o'neil", what: 'unlock production, held by ann on laptop' })
  })

  it('guard a script until they are gone', async () => {
    await as(async (store) => {
      const lock = await store.lock(['staging'], ann)
      const guarded = () => local().env({ HOME: home }).run(`${lock.guard}\necho in`, { nothrow: true })
      expect((await guarded()).stdout).toBe('in\n')
      rmSync(lockFile('staging'))
      expect(await guarded()).toMatchObject({ exitCode: 75, stdout: '' })
    })
  })

  it('have no age after the host was booted again, whatever the clock says', async () => {
    await as((store) => store.lock(['staging'], ann))
    const text = readFileSync(lockFile('staging'), 'utf8')
    writeFileSync(lockFile('staging'), text.replace(/"boot":"[^"]*"/, '"boot":"another"'))
    const holder = await as((store) => store.holder('staging'))
    expect(holder?.user).toBe('ann')
    expect(holder?.ageSeconds).toBeUndefined()
  })

  it('of a dead process of this machine are taken over when its change is resumed, and only then', async () => {
    const dead: Owner = { ...ann, machine: hostname(), pid: 2 ** 22 - 3 }
    await as(async (store) => {
      await store.lock(['staging', 'production'], dead)
      await store.begin(beginOf('j1', ['production', 'staging'], dead))
    })
    const here = { ...bob, machine: hostname(), pid: process.pid }
    await expect(as((store) => store.lock(['staging'], here))).rejects.toMatchObject({ code: 'locked' })
    await as((store) => store.lock(['staging', 'production'], here, { journal: 'j1' }))
    expect(readFileSync(lockFile('staging'), 'utf8')).toContain('run-bob')
  })

  it('take nothing and write nothing in a dry run', async () => {
    const lock = await withRun(createRun({ options: { dryRun: true } }), () =>
      vpsStore(local().env({ HOME: home }), 'pony').lock(['staging'], ann),
    )
    await lock.release()
    expect(existsSync(`${home}/.slipway`)).toBe(false)
  })
})

describe('journals', () => {
  it('are read back, and have their space from the beginning', async () => {
    await as(async (store) => {
      const journal = await store.begin(beginOf('j1'))
      expect(statSync(journalFile('j1')).size).toBeGreaterThan(128 * 1024)
      await journal.append({ at, entry: 'intent', step: 'a', direction: 'do', data: { text: 'ü\'\n"$HOME' } })
      const entries = await (await store.open('j1')).entries()
      expect(entries).toEqual([
        beginOf('j1'),
        { at, entry: 'intent', step: 'a', direction: 'do', data: { text: 'ü\'\n"$HOME' } },
      ])
    })
  })

  it('lock what they change until they end, and give their space back', async () => {
    await as((store) => store.begin(beginOf('j1')))
    await expect(as((store) => store.lock(['staging'], bob))).rejects.toMatchObject({
      code: 'unfinished-change',
      holder: { journal: 'j1', user: 'ann' },
    })
    await expect(as((store) => store.holder('production'))).resolves.toMatchObject({ journal: 'j1' })
    await as((store) => store.lock(['elsewhere'], bob))
    await as(async (store) => {
      const journal = await store.open('j1')
      await journal.append({ entry: 'end', at, result: 'done' })
    })
    await as((store) => store.lock(['staging'], bob))
    expect(statSync(journalFile('j1')).size).toBeLessThan(2000)
  })

  it('go on after a line that was torn, which is written over', async () => {
    await as((store) => store.begin(beginOf('j1')))
    const torn = encodeEntry({ at, entry: 'note', text: 'x'.repeat(300) }).slice(0, 200)
    const begin = encodeEntry(beginOf('j1'))
    truncateSync(journalFile('j1'), Buffer.byteLength(begin))
    appendFileSync(journalFile('j1'), torn)
    await as(async (store) => {
      const journal = await store.open('j1')
      expect(await journal.entries()).toHaveLength(1)
      await journal.append({ at, entry: 'note', text: 'short' })
      await journal.append({ at, entry: 'note', text: 'more' })
      expect((await journal.entries()).slice(1)).toMatchObject([{ text: 'short' }, { text: 'more' }])
    })
  })

  it('are not written by two at once: the second is told', async () => {
    await as((store) => store.begin(beginOf('j1')))
    await as(async (store) => {
      const [one, other] = [await store.open('j1'), await store.open('j1')]
      await one.entries()
      await other.entries()
      await one.append({ at, entry: 'note', text: 'one' })
      await expect(other.append({ at, entry: 'note', text: 'other' })).rejects.toMatchObject({ code: 'lock-lost' })
    })
  })

  it('are listed, newest first, with how they ended', async () => {
    await as(async (store) => {
      const first = await store.begin({ ...beginOf('j1'), at: '2026-11-26T10:00:00.000Z' })
      await first.append({ at, entry: 'intent', step: 'a', direction: 'do' })
      await first.append({ at, entry: 'end', result: 'undone' })
      await store.begin(beginOf('j2'))
      expect(await store.list()).toMatchObject([
        { id: 'j2', result: 'unfinished' },
        { id: 'j1', result: 'undone', lastStep: 'a' },
      ])
    })
  })

  it('can be continued by the scripts of the host, and after them', async () => {
    await as(async (store) => {
      const journal = await store.begin(beginOf('j1'))
      await journal.append({ at, entry: 'note', text: 'from here' })
      const hold = new URL('../../../templates/hold', import.meta.url).pathname
      const script = `import sys; sys.dont_write_bytecode=True; sys.path.insert(0, ${JSON.stringify(hold)})
from journal import Journal
Journal(sys.argv[1]).intent('a', 'do', {'text': 'ü\\u2028"', 'number': 1.5})
Journal(sys.argv[1]).outcome('a', 'do', False, 3, None, 'why')`
      await local().run(`/usr/bin/python3 - ${journalFile('j1')}`, { input: script })
      const entries = await journal.entries()
      expect(entries.slice(2)).toMatchObject([
        { entry: 'intent', step: 'a', data: { text: 'ü\u2028"', number: 1.5 } },
        { entry: 'outcome', ok: false, error: 'why' },
      ])
      await journal.append({ at, entry: 'end', result: 'undone' })
      expect(await journal.entries()).toHaveLength(5)
    })
  })
})
