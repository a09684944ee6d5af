/** A real sshd for a test: the sandbox's, ended with the test process should the test not stop it. */
import { type Sshd, type SshdOptions, startSshd as start } from '../../src/sandbox/sshd.ts'

export type { Sshd, SshdOptions } from '../../src/sandbox/sshd.ts'

export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  const sshd = await start(options)
  const end = () => {
    try {
      process.kill(sshd.process.pid)
    } catch {
      // It has ended already.
    }
  }
  process.once('exit', end)
  return {
    ...sshd,
    stop: async () => {
      process.removeListener('exit', end)
      await sshd.stop()
    },
  }
}
