/** The routers: one port an app. Requests wait while a web dyno boots, as on the platform (up to 75 s). */
import { createServer, request as httpRequest, type Server } from 'node:http'
import { log } from './logs.ts'
import type { App, Dyno } from './state.ts'
import type { World } from './world.ts'

export async function startRouter(world: World, app: App): Promise<Server> {
  let turn = 0
  const server = createServer((request, response) => {
    const fail = (status: number, code: string, text: string): void => {
      log(
        world,
        app,
        'heroku',
        'router',
        `at=error code=${code} desc="${text}" method=${request.method} path="${request.url}" status=${status}`,
      )
      if (response.headersSent) return void response.destroy()
      response.writeHead(status, { 'Content-Type': 'text/html' })
      response.end(`<title>Application error</title>${code} ${text}\n`)
    }
    const deliver = async (): Promise<void> => {
      if (app.maintenance) {
        response.writeHead(503, { 'Content-Type': 'text/html', 'Retry-After': '60' })
        response.end('<title>Offline for Maintenance</title>\n')
        return
      }
      const dyno = await available(app)
      if (typeof dyno === 'string')
        return fail(
          503,
          dyno,
          dyno === 'H10' ? 'App crashed' : dyno === 'H20' ? 'App boot timeout' : 'No web processes running',
        )
      const started = Date.now()
      dyno.connecting += 1
      let connected = (): void => {
        dyno.connecting -= 1
        connected = () => undefined
      }
      const proxied = httpRequest(
        {
          agent: false,
          host: '127.0.0.1',
          port: dyno.port,
          method: request.method,
          path: request.url,
          headers: {
            ...request.headers,
            'x-forwarded-proto': 'https',
            'x-forwarded-for': request.socket.remoteAddress ?? '',
            'x-request-id': `${app.id}-${turn}`,
            connection: 'close',
          },
        },
        (answer) => {
          const { connection: _, 'keep-alive': __, ...headers } = answer.headers
          response.writeHead(answer.statusCode ?? 502, headers)
          answer.pipe(response)
          answer.on('error', () => response.destroy())
          log(
            world,
            app,
            'heroku',
            'router',
            `at=info method=${request.method} path="${request.url}" dyno=${dyno.name} service=${Date.now() - started}ms status=${answer.statusCode}`,
          )
        },
      )
      proxied.on('socket', (socket) => socket.once('connect', () => connected()))
      proxied.on('close', () => connected())
      proxied.on('error', (error) => fail(503, 'H13', `Connection closed without response (${error.message})`))
      request.pipe(proxied)
    }
    deliver().catch(() => response.destroy())
  })

  async function available(of: App): Promise<Dyno | string> {
    const deadline = Date.now() + 75_000
    for (;;) {
      const dynos = of.dynos.filter((dyno) => dyno.type === 'web' && dyno.managed && !dyno.stopping)
      const up = dynos.filter((dyno) => dyno.state === 'up')
      if (up.length > 0) return up[turn++ % up.length]!
      if (dynos.length === 0) return 'H14'
      if (dynos.every((dyno) => dyno.state === 'crashed')) return 'H10'
      if (Date.now() > deadline) return 'H20'
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, 500)
        function done(): void {
          clearTimeout(timer)
          of.logEvents.off('dynos', done)
          resolve()
        }
        of.logEvents.on('dynos', done)
      })
    }
  }

  server.keepAliveTimeout = 1000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  app.port = typeof address === 'object' && address ? address.port : 0
  return server
}
