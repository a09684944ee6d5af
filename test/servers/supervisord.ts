/** A supervisord such as a system has: its own configuration, an include of other people's programs, one socket. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export interface SystemSupervisor {
  /** What it includes `*.conf` from. */
  readonly conf: string
  readonly socket: string
  readonly pid: number
  /** What `supervisorctl` prints, whatever its status. */
  control(...words: string[]): string
  stop(): Promise<void>
}

/** With one program of somebody else's in it, `neighbour`. */
export async function startSystemSupervisor(): Promise<SystemSupervisor> {
  const dir = mkdtempSync('/tmp/slipway-sup-')
  const [conf, socket, file] = [join(dir, 'conf.d'), join(dir, 's.sock'), join(dir, 'supervisord.conf')]
  mkdirSync(conf)
  writeFileSync(
    file,
    `[unix_http_server]
file=${socket}
[supervisord]
logfile=${dir}/supervisord.log
pidfile=${dir}/supervisord.pid
childlogdir=${dir}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://${socket}
[include]
files = ${conf}/*.conf
`,
  )
  writeFileSync(join(conf, 'neighbour.conf'), '[program:neighbour]\ncommand=sleep 3600\n')
  const child: ChildProcess = spawn('/usr/bin/supervisord', ['-n', '-c', file], { stdio: 'ignore' })
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const end = () => child.kill('SIGKILL')
  process.once('exit', end)
  const control = (...words: string[]): string => {
    try {
      return execFileSync('/usr/bin/supervisorctl', ['-c', file, ...words], { encoding: 'utf8', stdio: 'pipe' })
    } catch (error) {
      return String((error as { stdout?: string }).stdout ?? '')
    }
  }
  for (const deadline = Date.now() + 20_000; !control('status').includes('RUNNING'); ) {
    if (Date.now() > deadline) throw new Error('supervisord does not answer')
    await delay(50)
  }
  return {
    conf,
    socket,
    pid: child.pid as number,
    control,
    async stop() {
      process.removeListener('exit', end)
      child.kill('SIGTERM')
      const late = setTimeout(end, 15_000)
      await gone
      clearTimeout(late)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
