/** Tells webhooks what happened: Slack, Discord, or any. A failing one is a warning, and never fails what it tells of. */
import { resolveText } from '../config/secrets.ts'
import type { Config, NotificationConfig } from '../config/types.ts'
import { currentRun } from '../events/index.ts'

export type NotifyEvent = NotificationConfig['on'][number]

export interface NotifyFacts {
  user: string
  app: string
  /** The deployment's name. */
  release: string
  url?: string
  /** The commit or version. */
  head?: string
  detail?: string
}

/** The message with its {{placeholders}} filled in. Pure. */
export function messageText(message: string, event: NotifyEvent, facts: NotifyFacts): string {
  const values: Record<string, string | undefined> = {
    url: undefined,
    head: undefined,
    detail: undefined,
    ...facts,
    event,
  }
  return message
    .replace(/\{\{\s*(\w+)\s*\}\}/g, (whole, name: string) => (name in values ? (values[name] ?? '') : whole))
    .trim()
}

/** The body that a kind of webhook wants. Pure. */
export function webhookBody(
  kind: NotificationConfig['kind'],
  text: string,
  event: NotifyEvent,
  facts: NotifyFacts,
): unknown {
  if (kind === 'slack') return { text }
  if (kind === 'discord') return { content: text.slice(0, 2000) }
  return { text, event, ...facts }
}

/** Sends `event` to every webhook that wants it, all at the same time. */
export async function notify(config: Config, event: NotifyEvent, facts: NotifyFacts): Promise<void> {
  const run = currentRun()
  const wanted = config.notifications.filter((each) => each.on.includes(event))
  if (run.options.dryRun) {
    for (const each of wanted)
      run.emit({ type: 'held-back', host: each.name, display: `notify ${each.name} of ${event}` })
    return
  }
  await Promise.all(wanted.map((each) => send(config, each, event, facts)))
}

async function send(config: Config, to: NotificationConfig, event: NotifyEvent, facts: NotifyFacts): Promise<void> {
  try {
    const url = await resolveText(config, to.url, `[notify.${to.name}] url`)
    const body = webhookBody(to.kind, messageText(to.message, event, facts), event, facts)
    const answer = await fetch(typeof url === 'string' ? url : url.reveal(), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    })
    if (!answer.ok) throw new Error(`it answered ${answer.status}`)
  } catch (error) {
    currentRun().emit({
      type: 'warning',
      text: `[notify.${to.name}] was not told of the ${event}: ${(error as Error).message}`,
    })
  }
}
