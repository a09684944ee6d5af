/** A provider's own web server: it leads each request to the port that its domain has, and answers 502 where none does. */
import { createServer, request } from 'node:http'

export interface Front {
  readonly port: number
  /** How many were answered 502. */
  readonly refused: number
  close(): Promise<void>
}

export async function startFront(portOf: () => number | undefined): Promise<Front> {
  let refused = 0
  const server = createServer((incoming, outgoing) => {
    const refuse = () => {
      refused += 1
      if (!outgoing.headersSent) outgoing.writeHead(502)
      outgoing.end()
    }
    const port = portOf()
    if (port === undefined) return refuse()
    const headers = { ...incoming.headers, connection: 'close' }
    const sent = request(
      { host: '127.0.0.1', port, method: incoming.method, path: incoming.url, headers, agent: false },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
        answer.on('error', () => outgoing.destroy())
      },
    )
    sent.on('error', refuse)
    incoming.pipe(sent)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    get refused() {
      return refused
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
