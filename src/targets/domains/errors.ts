/** What providers fail with, by what a person can do about it. */
import { SlipwayError } from '../../events/index.ts'
import type { Binding } from './provider.ts'

export const unauthorized = (provider: string, setting: string): SlipwayError =>
  new SlipwayError('provider-unauthorized', `${provider} does not accept the credentials`, {
    state: 'Nothing was changed.',
    next: `Set ${setting} in .env.`,
  })

export const failed = (provider: string, what: string, detail?: string): SlipwayError =>
  new SlipwayError('provider-failed', `${provider}: ${what}`, detail ? { detail } : {})

export const changed = (domain: string, expected: Binding | null, found: Binding | null): SlipwayError =>
  new SlipwayError(
    'domain-changed',
    `${domain} leads to ${found?.app ?? 'nothing'}, not to ${expected?.app ?? 'nothing'}`,
    {
      state: 'Nothing was changed: somebody else has changed it.',
      next: 'Look at it, and plan again.',
    },
  )

export const unsettled = (domain: string, app: string, detail: string): SlipwayError =>
  new SlipwayError('domain-unsettled', `${domain} does not lead to ${app} yet: ${detail}`, {
    state: 'The provider accepted the change, and it may still take effect.',
  })

export const unknownApp = (provider: string, app: string): SlipwayError =>
  new SlipwayError('provider-app', `${provider} has no app ${app}`, {
    state: 'Nothing was changed.',
    next: 'Make it with init_app.',
  })

export const noSite = (provider: string, domain: string): SlipwayError =>
  new SlipwayError('provider-site', `${provider} has no site for ${domain}`, {
    state: 'Nothing was changed.',
    next: 'Make it with init_app.',
  })

/** Waits, with growing pauses, until `check` resolves to undefined; its text is what is missing. */
export async function untilSettled(
  check: () => Promise<string | undefined>,
  deadlineMs: number,
  late: (detail: string) => SlipwayError,
  signal: AbortSignal,
): Promise<void> {
  const end = performance.now() + deadlineMs
  for (let pause = 50; ; pause = Math.min(5000, pause * 1.6)) {
    const missing = await check()
    if (missing === undefined) return
    if (performance.now() + pause > end) throw late(missing)
    await wait(pause, signal)
  }
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    const abort = () => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', abort, { once: true })
  })
}
