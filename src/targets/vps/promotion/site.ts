/** What a promotion has to know of the production site, read from its nginx configuration. Pure. */

export interface Site {
  /** Where the host itself reaches the front door. */
  address: string
  port: number
  tls: boolean
  /** The value of X-Slipway-Gate that leads to gate.sock; undefined where the site has no gate. */
  gateToken?: string
  /** Whether requests that only read go to reads.sock. */
  reads?: boolean
  /** The shorter of proxy_read_timeout and proxy_send_timeout: how long a request can be held. */
  timeoutSeconds: number
  /** Paths of certificates: they stay where they are. */
  certificates: string[]
  /** The site is not there yet: what it will listen on. */
  toMake?: string[]
}

/** undefined where the text has no `listen`. */
export function readSite(conf: string): Site | undefined {
  const text = conf.replace(/^\s*#.*$/gm, '')
  const listens = [...text.matchAll(/^\s*listen\s+([^;]+);/gm)].flatMap((match) => readListen(match[1] as string))
  const listen = listens.find((each) => each.tls) ?? listens[0]
  if (!listen) return undefined
  const token = /^\s*"([^"]+)"\s+\w+_gate;/m.exec(text)?.[1]
  const timeouts = [...text.matchAll(/^\s*proxy_(?:read|send)_timeout\s+([^;]+);/gm)].map((match) =>
    seconds(match[1] as string),
  )
  return {
    ...listen,
    ...(token ? { gateToken: token } : {}),
    ...(/^\s*'GET '\s+\w+_reads;/m.test(text) ? { reads: true } : {}),
    // nginx's own default.
    timeoutSeconds: timeouts.length > 0 ? Math.min(...timeouts) : 60,
    certificates: [...text.matchAll(/^\s*ssl_certificate\s+"?([^";]+)"?;/gm)].map((match) => match[1] as string),
  }
}

function readListen(value: string): { address: string; port: number; tls: boolean }[] {
  const [where = '', ...flags] = value.trim().split(/\s+/)
  if (where.startsWith('unix:')) return []
  const match = /^(?:(\[[^\]]+\]|[^:]+):)?(\d+)$/.exec(where)
  if (!match) return []
  const named = match[1]?.replace(/^\[|\]$/g, '')
  const address =
    named === undefined || named === '*' || named === '0.0.0.0' ? '127.0.0.1' : named === '::' ? '::1' : named
  return [{ address, port: Number(match[2]), tls: flags.includes('ssl') }]
}

/** nginx's times: `60s`, `2m`, `90`. */
function seconds(text: string): number {
  const match = /^(\d+)(ms|s|m|h)?$/.exec(text.trim())
  if (!match) return 60
  const unit = { ms: 0.001, s: 1, m: 60, h: 3600 }[match[2] ?? 's'] as number
  return Number(match[1]) * unit
}

/** A text with nothing but a gate, for whoever keeps the gate of the site that was there before. */
export const gateOnly = (token: string): string => `  listen 80;\n  "${token}" promotion_gate;\n`
