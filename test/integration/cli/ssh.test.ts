/** `slipway ssh` with a command, as in a pipeline: without all of a terminal. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type Built, buildSlipway } from '../../built.ts'
import { type Sshd, startSshd } from '../hosts/sshd.ts'
import { makeProject, type Project } from './project.ts'

let built: Built
let sshd: Sshd
let project: Project
beforeAll(async () => {
  ;[built, sshd] = await Promise.all([buildSlipway(), startSshd()])
}, 120_000)
afterAll(async () => {
  built?.remove()
  await sshd?.stop()
})
beforeEach(() => {
  project = makeProject()
})
afterEach(() => project.remove())

const ssh = (command: string) =>
  project.start(built.slipway, ['ssh', '-S', sshd.sshConfigFile, 'test', '--', command], {})

it('ends when nobody reads what a command prints', async () => {
  const { child, printed, finished } = ssh('yes')
  await printed('y\n')
  child.stdout?.destroy()
  expect(await finished).toMatchObject({ status: 130, err: expect.stringContaining('nobody reads the output') })
}, 20_000)

it.each(['SIGINT', 'SIGTERM'] as const)(
  'ends by %s while a command runs',
  async (signal) => {
    const { child, printed, finished } = ssh('echo begun; exec sleep 15')
    await printed('begun')
    child.kill(signal)
    expect(await finished).toMatchObject({ status: 130, err: expect.stringContaining('interrupted') })
  },
  10_000,
)
