/** A site asked from the operator's machine by its real name, as a visitor would: through DNS, and what lies before it. */
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { LookupFunction } from 'node:net'
import { currentRun } from '../../events/index.ts'
import type { HttpAnswer } from './stream-http.ts'

export interface Visit {
  domain: string
  tls: boolean
  port: number
  path: string
}

export const visitUrl = ({ domain, tls, port, path }: Visit): string =>
  `${tls ? 'https' : 'http'}://${domain}${port === 80 || port === 443 ? '' : `:${port}`}${path}`

/** Characters of a body that are looked at. */
const bodyLimit = 64 * 1024

/** What answers, within 5 s. Rejects where nothing does: a name that leads nowhere, a refused connection, a certificate. */
export function visit(of: Visit, withinMs = 5000): Promise<HttpAnswer> {
  return ask(visitUrl(of), withinMs, currentRun().options.sandbox ? lookupHere : undefined)
}

/** Sites of the sandbox have real names, and only this machine has the sites. */
const lookupHere: LookupFunction = (_name, options, found) => {
  if (options.all) found(null, [{ address: '127.0.0.1', family: 4 }])
  else found(null, '127.0.0.1', 4)
}

function ask(url: string, withinMs: number, lookup?: LookupFunction): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    // All of it, body and all: one that goes on for ever is no answer.
    const signal = AbortSignal.timeout(withinMs)
    const failed = (error: Error) => reject(signal.aborted ? new Error(`no answer within ${withinMs / 1000} s`) : error)
    const send = url.startsWith('https:') ? requestHttps : requestHttp
    const sent = send(url, { headers: { connection: 'close' }, signal, ...(lookup ? { lookup } : {}) }, (answer) => {
      let body = ''
      answer.setEncoding('utf8').on('data', (text: string) => {
        if (body.length < bodyLimit) body += text
      })
      answer.on('error', failed)
      answer.on('end', () => {
        const headers = Object.entries(answer.headers).map(([name, value]) => [name, String(value)])
        resolve({ status: answer.statusCode ?? 0, headers: Object.fromEntries(headers), body })
      })
    })
    sent.on('error', failed)
    sent.end()
  })
}
