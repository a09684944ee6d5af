/** The last check: production asked from the operator's machine by its name. What it finds is told, and undoes nothing. */
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { LookupFunction } from 'node:net'
import { currentRun } from '../../../events/index.ts'
import type { PromotionFacts } from './facts.ts'

/** One line: what answered. */
export async function askOutside(facts: PromotionFacts): Promise<string> {
  const run = currentRun()
  const url = `${facts.site.tls ? 'https' : 'http'}://${facts.domain}${facts.site.port === 80 || facts.site.port === 443 ? '' : `:${facts.site.port}`}${facts.health.path}`
  try {
    const { status, release } = await ask(url, run.options.sandbox ? lookupHere : undefined)
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

/** Sites of the sandbox have real names, and only this machine has the sites. */
const lookupHere: LookupFunction = (_name, options, found) => {
  if (options.all) found(null, [{ address: '127.0.0.1', family: 4 }])
  else found(null, '127.0.0.1', 4)
}

function ask(url: string, lookup?: LookupFunction): Promise<{ status: number; release?: string }> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? requestHttps : requestHttp
    const sent = send(
      url,
      { headers: { connection: 'close' }, timeout: 5000, ...(lookup ? { lookup } : {}) },
      (answer) => {
        answer.resume()
        const release = answer.headers['x-release']
        resolve({ status: answer.statusCode ?? 0, ...(typeof release === 'string' ? { release } : {}) })
      },
    )
    sent.on('timeout', () => sent.destroy(new Error('no answer within 5 s')))
    sent.on('error', reject)
    sent.end()
  })
}
