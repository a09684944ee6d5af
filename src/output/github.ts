/**
 * GitHub Actions: each task a group, warnings and errors as annotations.
 * https://docs.github.com/actions/reference/workflow-commands-for-github-actions
 */
import { folded } from './folded.ts'
import { createFormat, type Verbosity } from './format.ts'
import { plainLines, type Writers } from './plain.ts'
import type { Sink } from './sink.ts'
import { taskTitle } from './text.ts'

export function githubSink(options: Writers & { verbosity?: Verbosity }): Sink {
  const format = createFormat(options)
  const plain = plainLines({ ...options, format })
  const say = (command: string, properties: Record<string, string | undefined>, text: string) => {
    const given = Object.entries(properties).filter(([, value]) => value !== undefined)
    const list = given.map(([name, value]) => `${name}=${property(value!)}`).join(',')
    options.err(`::${command}${list ? ` ${list}` : ''}::${data(text)}\n`)
  }
  // Groups don't nest there: a task inside another ends the outer one's group.
  let open = false
  const endGroup = () => {
    if (open) options.err('::endgroup::\n')
    open = false
  }
  return folded({
    event(event) {
      switch (event.type) {
        case 'task.started':
          endGroup()
          say('group', {}, taskTitle(event))
          open = true
          format(event)
          return
        case 'task.finished':
          plain.event(event)
          return endGroup()
        case 'warning':
          format(event)
          return say('warning', { title: event.host }, event.text)
        case 'error': {
          endGroup()
          plain.event(event)
          const { message, state, next, host } = event.error
          const [, file, line, column] = /^([^\s:]+\.[cm]?[jt]s):(\d+):(\d+): /.exec(message) ?? []
          const text = [message, state, next].filter(Boolean).join('\n')
          return say('error', { title: host ? `on ${host}` : undefined, file, line, col: column }, text)
        }
        default:
          return plain.event(event)
      }
    },
    close() {
      plain.close?.()
      endGroup()
    },
  })
}

const data = (text: string) => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
const property = (text: string) => data(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
