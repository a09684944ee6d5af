/** The last check: production asked from the operator's machine by its name. What it finds is told, and undoes nothing. */
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { currentRun } from '../../../events/index.ts'
import type { PromotionFacts } from './facts.ts'

/** One line: what answered. */
export async function askOutside(facts: PromotionFacts): Promise<string> {
  const run = currentRun()
  const url = `${facts.site.tls ? 'https' : 'http'}://${facts.domain}${facts.site.port === 80 || facts.site.port === 443 ? '' : `:${facts.site.port}`}${facts.health.path}`
  try {
    const { status, release } = await ask(url)
    const expected = facts.next.sends
    const right = status === facts.health.status && (expected === undefined || release === expected)
    const text = `${url} answered ${status}${release ? ` from ${release}` : ''}`
    if (!right)
      run.emit({
        type: 'warning',
        text: `${text}: not what the host answers; is there a cache or another server in front?`,
      })
    else run.emit({ type: 'note', text })
    return text
  } catch (error) {
    const text = `${url} can't be asked from here: ${(error as Error).message}`
    run.emit({ type: 'note', text })
    return text
  }
}

function ask(url: string): Promise<{ status: number; release?: string }> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? requestHttps : requestHttp
    const sent = send(url, { headers: { connection: 'close' }, timeout: 5000 }, (answer) => {
      answer.resume()
      const release = answer.headers['x-release']
      resolve({ status: answer.statusCode ?? 0, ...(typeof release === 'string' ? { release } : {}) })
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer within 5 s')))
    sent.on('error', reject)
    sent.end()
  })
}
