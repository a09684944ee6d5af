/** An app server that reloads by itself, as gunicorn does: deploys and settings are taken up by the same process. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, createProject, type Project } from './host.ts'
import { processesOf } from './life.ts'

/** A master that forks a worker; on HUP another one, with the code that is current now. It ends where that is broken. */
const prefork = `import os, signal, socket, sys
from http.server import BaseHTTPRequestHandler

release = os.environ['SLIPWAY_RELEASE_DIR']
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ['SLIPWAY_SOCKET'])
listener.listen(64)

def serve(ready):
    current = os.path.realpath(os.path.join(release, 'current'))
    banner = {}
    exec(open(os.path.join(current, 'banner.py')).read(), banner)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = banner['text'].encode()
            self.send_response(200)
            self.send_header('X-Release', os.environ['SLIPWAY_RELEASE'] + '/' + os.path.basename(current))
            self.send_header('X-Worker', str(os.getpid()))
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    os.write(ready, b'1')
    while True:
        connection, _ = listener.accept()
        Handler(connection, ('', 0), None)
        connection.close()

def start():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
        serve(write)
    os.close(write)
    ready = os.read(read, 1)
    os.close(read)
    if not ready:
        os.waitpid(pid, 0)
    return pid if ready else None

def end(pid):
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)

watched = {signal.SIGHUP, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, watched)
worker = start() or sys.exit('a worker did not boot')
while signal.sigwait(watched) == signal.SIGHUP:
    old, worker = worker, start()
    end(old)
    if not worker:
        sys.exit('a worker did not boot')
end(worker)
`

let project: Project
beforeAll(async () => {
  project = await createProject()
  writeFileSync(join(project.dir, 'app/prefork.py'), prefork)
  writeFileSync(join(project.dir, 'app/banner.py'), "text = 'one'\n")
  project.configure((text) =>
    text.replace('server = exec python3 -m pony.web', 'server = exec python3 prefork.py').replace(/^mailer.*\n/gm, ''),
  )
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
  })
}, 60_000)
afterAll(() => project.stop())

const front = () => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')
const master = async () => (await project.run((staging) => staging.server.status())).value[0]?.pid
const banner = (text: string) => writeFileSync(join(project.dir, 'app/banner.py'), text)

test('without a word about how, a reload is refused', async () => {
  await expect(project.run((staging) => staging.reload())).rejects.toMatchObject({ code: 'no-reload', exitCode: 2 })
})

test('a reload is taken up by the same process, which answers its health check', async () => {
  project.configure((text) => text.replace('[app]\n', '[app]\nreload = HUP\n'))
  const [pid, before] = [await master(), await front()]
  await project.run((staging) => staging.reload())
  expect(await master()).toBe(pid)
  await expect.poll(async () => (await front()).headers['x-worker']).not.toBe(before.headers['x-worker'])
}, 30_000)

test('a deploy by reload serves the new version from the same process, and records it as live', async () => {
  project.configure((text) => text.replace('reload = HUP', 'reload = HUP\nrestart = reload'))
  const pid = await master()
  banner("text = 'two'\n")
  const { value: version } = await project.run((staging) => staging.deploy())
  expect(await front()).toMatchObject({ body: 'two', release: `ponyr2/${version.id}` })
  expect(await master()).toBe(pid)
  expect(Object.keys(processesOf(project.release))).toEqual(['app-a'])
  const { value: versions } = await project.run((staging) => staging.versions())
  expect(versions.map((each) => each.state)).toEqual(['live', 'retired'])
  expect((await project.run((staging) => staging.status())).value).toMatchObject({ healthy: true, warnings: [] })
}, 60_000)

test('code that the reload does not survive: the version before is started again, and it is said that requests failed', async () => {
  const before = await front()
  banner('text = no such name\n')
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'unhealthy',
    message: expect.stringContaining('it ended upon SIGHUP'),
    detail: expect.stringContaining('a worker did not boot'),
    state: expect.stringMatching(/was started again with .*requests failed meanwhile; .* is marked as failed/),
  })
  expect(await front()).toMatchObject({ body: 'two', release: before.release })
  banner("text = 'three'\n")
  await project.run((staging) => staging.deploy())
  expect(await front()).toMatchObject({ body: 'three' })
}, 60_000)

test('where nothing runs there is nothing to reload', async () => {
  await project.run((staging) => staging.server.stop())
  await expect(project.run((staging) => staging.reload())).rejects.toMatchObject({ code: 'not-running' })
  await project.run((staging) => staging.deploy())
  expect(await front()).toMatchObject({ status: 200 })
}, 60_000)
