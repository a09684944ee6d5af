import { PassThrough } from 'node:stream'
import { expect, it, vi } from 'vitest'
import { AbortedError, createRun, withRun } from '../../../src/events/index.ts'
import { interact, type Terminal } from '../../../src/hosts/interactive.ts'
import type { Channel, Transport } from '../../../src/hosts/transport.ts'

it('waits for no channel once the run is interrupted, and lets go of one that still comes', async () => {
  const controller = new AbortController()
  let open: (channel: Channel) => void = () => {}
  const exec = vi.fn(
    () =>
      new Promise<Channel>((resolve) => {
        open = resolve
      }),
  )
  const terminal = { input: new PassThrough(), output: new PassThrough(), errors: new PassThrough() }
  const running = withRun(createRun({ signal: controller.signal }), () =>
    interact({ exec } as unknown as Transport, 'true', terminal as unknown as Terminal),
  )
  const interrupted = new AbortedError()
  controller.abort(interrupted)
  await expect(running).rejects.toBe(interrupted)
  const close = vi.fn()
  open({ close } as unknown as Channel)
  await vi.waitFor(() => expect(close).toHaveBeenCalledOnce())
  expect(exec).toHaveBeenCalledWith('true', { urgent: true, signal: controller.signal })
})
