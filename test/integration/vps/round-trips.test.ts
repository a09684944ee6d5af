/** What a deploy costs in round trips, counted at a proxy between the operator and the host, whatever the channel. */
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../../servers/ports.ts'
import { createProject, type Project } from './host.ts'

let project: Project
const counter = { bursts: 0, last: 'none' as 'none' | 'up' | 'down' }
let close: () => void

/** Forwards to `port`; counts how often the operator speaks after the host did. */
async function startProxy(port: number): Promise<{ port: number; close(): void }> {
  const sockets = new Set<Socket>()
  const server = createServer((inside) => {
    const outside = connect(port, '127.0.0.1')
    for (const socket of [inside, outside]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
    }
    inside.on('data', (data) => {
      if (counter.last !== 'up') counter.bursts++
      counter.last = 'up'
      outside.write(data)
    })
    outside.on('data', (data) => {
      counter.last = 'down'
      inside.write(data)
    })
    inside.on('close', () => outside.end())
    outside.on('close', () => inside.destroy())
  })
  const listening = await freePort()
  await new Promise<void>((resolve) => server.listen(listening, '127.0.0.1', resolve))
  return {
    port: listening,
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

beforeAll(async () => {
  project = await createProject()
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
    await staging.workers.start()
  })
  const text = readFileSync(project.sshConfigFile, 'utf8')
  const port = Number(/^\s*Port (\d+)$/m.exec(text)?.[1])
  const proxy = await startProxy(port)
  close = proxy.close
  const known = readFileSync(/UserKnownHostsFile "?([^"\n]+)"?/.exec(text)?.[1] as string, 'utf8')
  const knownHosts = join(project.dir, 'known_hosts')
  writeFileSync(knownHosts, known.replaceAll(`:${port}`, `:${proxy.port}`))
  writeFileSync(
    join(project.dir, 'ssh_config'),
    text
      .replace(`Port ${port}`, `Port ${proxy.port}`)
      .replace(/UserKnownHostsFile .*/, `UserKnownHostsFile ${knownHosts}`),
  )
}, 60_000)
afterAll(async () => {
  close?.()
  await project.stop()
})

async function deploy(): Promise<number> {
  counter.bursts = 0
  await project.run(
    async (staging) => {
      await staging.upload()
      await staging.install()
      await staging.server.restart()
      await staging.workers.restart()
    },
    { sshConfigFile: join(project.dir, 'ssh_config') },
  )
  return counter.bursts
}

test('a deploy speaks with the host a bounded number of times, the handshake and rsync included', async () => {
  const same = await deploy()
  // Polling for health adds some on a busy machine; what grows with the number of steps or files would add far more.
  expect(same).toBeLessThanOrEqual(150)
}, 60_000)
