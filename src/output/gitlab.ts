/** GitLab CI: each task a section that folds; sections nest. https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections */
import { folded } from './folded.ts'
import { createFormat, type Verbosity } from './format.ts'
import { plainLines, type Writers } from './plain.ts'
import type { Sink } from './sink.ts'
import { taskTitle } from './text.ts'

export function gitlabSink(options: Writers & { verbosity?: Verbosity }): Sink {
  const format = createFormat(options)
  const plain = plainLines({ ...options, format })
  const open = new Set<string>()
  const mark = (kind: 'start' | 'end', at: number, section: string) =>
    `\x1b[0Ksection_${kind}:${Math.floor(at / 1000)}:${section}\r\x1b[0K`
  return folded({
    event(event) {
      if (event.type === 'task.started') {
        const section = `slipway_${event.id}`
        open.add(section)
        options.err(`${mark('start', event.at, section)}${taskTitle(event)}\n`)
        format(event)
        return
      }
      plain.event(event)
      if (event.type !== 'task.finished') return
      const section = `slipway_${event.id}`
      if (open.delete(section)) options.err(`${mark('end', event.at, section)}\n`)
    },
    close: () => plain.close?.(),
  })
}
