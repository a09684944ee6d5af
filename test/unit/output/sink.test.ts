import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createRun, type RunEvent } from '../../../src/events/index.ts'
import { connectSinks, keptRuns, logSink, runsFolder } from '../../../src/output/index.ts'
import { Secret } from '../../../src/shell/secret.ts'

function listening() {
  const run = createRun()
  const events: RunEvent[] = []
  const close = connectSinks(run, [{ event: (event) => events.push(event) }])
  run.secrets.add(new Secret('hunter2-hunter2', 'PASSWORD'))
  return { run, events, close }
}

describe('the way to the sinks', () => {
  it('scrubs every text of every event', () => {
    const { run, events, close } = listening()
    run.emit({ type: 'task.started', id: '1', name: 't', params: { url: 'x://u:hunter2-hunter2@h' } })
    run.emit({
      type: 'result',
      text: 'hunter2-hunter2',
      value: { deep: ['hunter2-hunter2', new Secret('other')], 'hunter2-hunter2': 1 },
    })
    run.emit({ type: 'error', error: { code: 'x', message: 'hunter2-hunter2', stack: 'at hunter2-hunter2' } })
    close()
    expect(JSON.stringify(events)).not.toMatch(/hunter2-hunter2|other/)
    expect(events[1]).toMatchObject({ value: { deep: ['•••', '•••'], '•••': 1 } })
  })

  it('gives what was kept back of a command’s output before its end', () => {
    const { run, events, close } = listening()
    const output = { type: 'command.output', id: '1', host: 'h', stream: 'stdout', quiet: false } as const
    run.emit({ ...output, text: 'is hunter2-' })
    run.emit({ ...output, text: 'hunter2 and hunt' })
    run.emit({ type: 'command.finished', id: '1', host: 'h', exitCode: 0, signal: null, durationMs: 1 })
    close()
    expect(events.map((event) => (event.type === 'command.output' ? event.text : event.type))).toEqual([
      'is ',
      '••• and ',
      'hunt',
      'command.finished',
    ])
  })
})

describe('the log of a run', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'slipway-log-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  it('is kept as JSON lines, for the user alone, out of git’s sight', () => {
    const run = createRun()
    run.secrets.add(new Secret('hunter2-hunter2'))
    const close = connectSinks(run, [logSink(dir, run.id, () => {})])
    run.emit({ type: 'note', text: 'the password is hunter2-hunter2' })
    close()
    const file = join(runsFolder(dir), `${run.id}.jsonl`)
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ v: 1, type: 'note', text: 'the password is •••' })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(dir, '.slipway', '.gitignore'), 'utf8')).toBe('*\n')
  })

  it(`is pruned: the newest ${keptRuns} stay`, () => {
    const write = (id: string) => {
      const sink = logSink(dir, id, () => {})
      sink.event({ type: 'note', text: 'x', at: 0, run: id })
      sink.close?.()
    }
    for (let index = 100; index < 105 + keptRuns; index++) write(`20261127T1015${index}`)
    const kept = readdirSync(runsFolder(dir)).sort()
    expect(kept).toHaveLength(keptRuns)
    expect(kept[0]).toBe('20261127T1015105.jsonl')
  })

  it('that cannot be written is a warning', () => {
    writeFileSync(join(dir, '.slipway'), 'in the way')
    const warnings: string[] = []
    const sink = logSink(dir, 'x', (text) => warnings.push(text))
    sink.event({ type: 'note', text: 'x', at: 0, run: 'x' })
    sink.close?.()
    expect(warnings).toEqual([expect.stringContaining('the log of this run cannot be written')])
  })
})
