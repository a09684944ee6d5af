/**
 * The scripts of templates/hold on the host: put there, run for single steps, and started detached for the window,
 * which they do without whoever started them.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { decodeEntries } from '../../../engine/index.ts'
import type { Journal, JournalEntry, StepState, UndoData, WindowRunner } from '../../../engine/types.ts'
import { AbortedError, currentRun, OutcomeUnknownError, SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { ChangeSpec } from './spec.ts'

export interface Scripts {
  /** Puts the scripts and the specification into the change's folder. */
  place(spec: ChangeSpec): Promise<void>
  /** Where a step stands, and what its undo will need, read at the same time. */
  state(step: string): Promise<{ state: StepState; prepared: UndoData }>
  /** Does a step or takes it back. With where it stands afterwards. */
  act(verb: 'do' | 'undo', step: string, kept: UndoData): Promise<{ state: StepState; data: UndoData }>
  /** Removes the folder: nothing was begun. */
  remove(): Promise<void>
  readonly window: WindowRunner
}

export function scriptsOn(host: Host, python: string, folder: string, titles: ReadonlyMap<string, string>): Scripts {
  const script = `${folder}/window.py`

  async function ask<T>(verb: string, step: string, kind: 'probe' | 'write', input?: string): Promise<T> {
    const result = await host.run(sh`${python} ${script} ${verb} ${step}`, {
      kind,
      quiet: true,
      nothrow: true,
      label: `${verb} ${step}`,
      ...(input === undefined ? {} : { input }),
    })
    if (result.exitCode !== 0) throw stepError(host, result.stderr)
    return JSON.parse(result.stdout) as T
  }

  async function through(verb: 'forward' | 'back', journal: Journal): Promise<void> {
    const skip = (await journal.entries()).length
    const started = await host.run(sh`${python} ${script} start ${verb}`, {
      quiet: true,
      nothrow: true,
      label: `start the window: ${verb}`,
    })
    if (started.exitCode !== 0) throw stepError(host, started.stderr)
    if (started.stdout.trim() === 'running') {
      currentRun().emit({ type: 'note', host: host.name, text: 'the host is at it already: watching' })
    }
    await watch(journal, skip)
  }

  async function settle(journal: Journal, direction: 'forward' | 'back'): Promise<void> {
    const skip = (await journal.entries()).length
    const look = async (): Promise<string> => {
      const answer = await host.run(sh`${python} ${script} settle ${direction}`, {
        quiet: true,
        nothrow: true,
        label: 'see whether the host is at a step',
      })
      if (answer.exitCode !== 0) throw stepError(host, answer.stderr)
      return answer.stdout.trim()
    }
    let found = await look()
    if (found === 'step') {
      const text = 'the host is still at a step of the run before: waiting until it has come to its end'
      currentRun().emit({ type: 'note', host: host.name, text })
      for (; found === 'step'; found = await look())
        await delay(500, undefined, { signal: currentRun().signal }).catch(() => {})
    }
    if (found !== 'running') return
    const asked = direction === 'back' ? ', and is asked to go back' : ''
    currentRun().emit({ type: 'note', host: host.name, text: `the host is at it${asked}: watching` })
    await watch(journal, skip)
  }

  /** Tells what the host writes into the journal. A lost connection is made again: watching changes nothing. */
  async function watch(journal: Journal, skip: number): Promise<void> {
    const tell = teller(journal.id, host.name, titles)
    let told = skip
    for (let attempt = 1; ; attempt++) {
      try {
        const running = host.run(sh`${python} ${script} watch`, {
          kind: 'probe',
          quiet: true,
          label: 'watch the window',
        })
        let text = ''
        let seen = 0
        for await (const chunk of running.stdout()) {
          text += String(chunk)
          const whole = text.slice(0, text.lastIndexOf('\n') + 1)
          const entries = decodeEntries(whole)
          for (const entry of entries.slice(Math.max(0, told - seen))) tell(entry)
          // What was told before the connection was lost is in the text once more.
          seen += entries.length
          told = Math.max(told, seen)
          text = text.slice(whole.length)
        }
        await running
        return
      } catch (error) {
        const run = currentRun()
        if (run.signal.aborted) {
          throw new AbortedError('detached: the host finishes its part, or goes back, by itself', {
            next: 'See how it went: `tasks promotions`; then --resume or --undo.',
          })
        }
        if (attempt >= 20 || (error instanceof SlipwayError && error.code === 'command-failed')) throw error
        if (!(error instanceof OutcomeUnknownError))
          run.emit({ type: 'note', host: host.name, text: `watching again: ${(error as Error).message}` })
        await delay(500, undefined, { signal: run.signal }).catch(() => {})
      }
    }
  }

  return {
    async place(spec) {
      const files = { ...scriptFiles(), 'spec.json': JSON.stringify(spec) }
      const unpack =
        'import json,os,sys\nos.umask(0o77)\nfolder=sys.argv[1]\nos.makedirs(folder,exist_ok=True)\n' +
        'for name,text in json.load(sys.stdin).items():\n' +
        ' path=os.path.join(folder,name)\n file=open(path+".new","w")\n file.write(text); file.flush(); os.fsync(file.fileno()); file.close()\n os.rename(path+".new",path)\n'
      await host.run(sh`${python} -c ${unpack} ${folder}`, {
        quiet: true,
        input: JSON.stringify(files),
        label: `put the promotion's scripts into ${folder}`,
      })
    },
    state: (step) => ask('state', step, 'probe'),
    act: (verb, step, kept) => ask(verb, step, 'write', JSON.stringify(kept)),
    async remove() {
      await host.run(sh`rm -rf ${folder}`, { quiet: true, label: 'remove the scripts' })
    },
    window: {
      forward: (journal) => through('forward', journal),
      back: (journal) => through('back', journal),
      settle,
    },
  }
}

/** What a step on the host failed of, from its standard error. */
export function stepError(host: Host, stderr: string): SlipwayError {
  const lines = stderr.trim().split('\n')
  // A Failure is a sentence and what the app printed; anything else is a traceback, which ends with its reason.
  const isTrace = lines[0]?.startsWith('Traceback') ?? false
  const message = (isTrace ? lines.at(-1) : lines[0]) || 'the step ended without saying why'
  const detail = lines.length > 1 ? lines.slice(isTrace ? 0 : 1).join('\n') : undefined
  return new SlipwayError('host-step-failed', message, { host: host.name, ...(detail ? { detail } : {}) })
}

/** The window's entries as the events that steps of this machine have. */
function teller(journal: string, host: string, titles: ReadonlyMap<string, string>): (entry: JournalEntry) => void {
  const begun = new Set<string>()
  return (entry) => {
    const run = currentRun()
    if (entry.entry === 'note') run.emit({ type: 'note', host, text: entry.text })
    if (entry.entry !== 'intent' && entry.entry !== 'outcome') return
    const id = `${journal}/${entry.direction}/${entry.step}`
    const title = `${entry.direction === 'undo' ? 'undo: ' : ''}${titles.get(entry.step) ?? entry.step}`
    if (!begun.has(id)) run.emit({ type: 'step.started', id, title, host, window: true })
    begun.add(id)
    if (entry.entry === 'intent') return
    begun.delete(id)
    const outcome = entry.ok ? (entry.data?.['found'] === true ? 'unchanged' : 'ok') : 'failed'
    run.emit({
      type: 'step.finished',
      id,
      outcome,
      durationMs: entry.durationMs,
      ...(entry.error ? { detail: entry.error } : {}),
    })
  }
}

/** The texts of templates/hold, by name. */
export function scriptFiles(): Record<string, string> {
  const folder = holdFolder()
  const names = readdirSync(folder).filter((name) => name.endsWith('.py'))
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), 'utf8')]))
}

function holdFolder(): string {
  for (let dir = dirname(fileURLToPath(import.meta.url)); dir !== dirname(dir); dir = dirname(dir)) {
    const folder = join(dir, 'templates', 'hold')
    try {
      readdirSync(folder)
      return folder
    } catch {
      // Further up.
    }
  }
  throw new SlipwayError('no-template', 'the scripts of a promotion are missing', {
    next: 'The package is incomplete: install it again.',
  })
}
