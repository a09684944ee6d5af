/**
 * A machine that systemd itself has booted, as its first process: in namespaces of its own, on a throwaway layer over
 * this machine's files, with control groups of version 2 alone, a real sshd, logind and cron. It shares the network, so
 * of its services only these are started. Needs root.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from './ports.ts'
import { hierarchies, removeGroup } from './systemd.ts'

export interface Machine {
  /** Its files, as seen from here. */
  readonly root: string
  readonly user: string
  readonly sshConfigFile: string
  /** As its root. Throws what was said. */
  run(...words: string[]): string
  /** By `systemctl reboot`; resolves when its sshd answers again. */
  reboot(): Promise<void>
  stop(): Promise<void>
}

const needed = ['/lib/systemd/systemd', '/lib/systemd/systemd-logind', '/usr/bin/dbus-daemon', '/usr/sbin/cron']
const user = 'pony'
const address = '127.0.0.15'

const files = (port: number): Record<string, string> => ({
  'etc/systemd/system/slipway.target': `[Unit]
Requires=basic.target
After=basic.target
AllowIsolate=yes
Wants=dbus.service systemd-logind.service systemd-user-sessions.service cron.service slipway-sshd.service
`,
  'etc/systemd/system/slipway-sshd.service': `[Unit]
After=systemd-logind.service systemd-user-sessions.service
[Service]
RuntimeDirectory=sshd
RuntimeDirectoryPreserve=yes
ExecStart=/usr/sbin/sshd -D -f /etc/slipway-sshd.conf
KillMode=process
`,
  'etc/slipway-sshd.conf': `ListenAddress ${address}:${port}
HostKey /etc/slipway-host-key
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
`,
})

/** What nspawn does, as far as it matters here; then systemd in the place of this shell. */
const boot = (root: string) => `set -e
cd ${root}
mount -t proc proc proc
mount --bind proc/sys proc/sys; mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs tmp; mount -t tmpfs tmpfs dev
for d in null zero full random urandom tty; do : >dev/$d; mount --bind /dev/$d dev/$d; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
hostname booted
mkdir run/before
pivot_root . run/before
umount -l /run/before
exec env -i container=slipway PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=slipway.target`

/** undefined where none can be booted: not root, no systemd, no control groups or mounts of ours. */
export async function bootMachine(): Promise<Machine | undefined> {
  if (process.getuid?.() !== 0 || !needed.every((path) => existsSync(path))) return undefined
  const dir = mkdtempSync('/tmp/slipway-machine-')
  const [layers, root] = [join(dir, 'layers'), join(dir, 'layers/root')]
  const above = hierarchies.find((path) => existsSync(join(path, 'cgroup.controllers')))
  const group = join(above ?? '/nowhere', `slipway-machine-${process.pid}`)
  const mounts: string[] = []
  const clean = () => {
    for (const path of mounts.reverse()) execFileSync('umount', ['-l', path])
    if (existsSync(group)) removeGroup(group)
    rmSync(dir, { recursive: true, force: true })
  }
  const mount = (path: string, ...words: string[]) => {
    execFileSync('mount', [...words, path], { stdio: 'pipe' })
    mounts.push(path)
  }
  try {
    mkdirSync(group)
    mkdirSync(layers)
    mount(layers, '-t', 'tmpfs', 'tmpfs')
    for (const name of ['up', 'work', 'root']) mkdirSync(join(layers, name))
    const over = `lowerdir=/,upperdir=${layers}/up,workdir=${layers}/work`
    mount(root, '-t', 'overlay', '-o', over, 'overlay')
  } catch {
    clean()
    return undefined
  }
  const port = await freePort(address)
  for (const [path, text] of Object.entries(files(port))) writeFileSync(join(root, path), text)
  const inside = (...words: string[]) => execFileSync('chroot', [root, ...words], { encoding: 'utf8', stdio: 'pipe' })
  // A password that nothing can be, which is not a locked account.
  inside('useradd', '--create-home', '--shell', '/bin/sh', '--password', '*', user)
  const key = join(dir, 'key')
  for (const file of [key, join(root, 'etc/slipway-host-key')]) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
  }
  mkdirSync(join(root, 'home', user, '.ssh'))
  writeFileSync(join(root, 'home', user, '.ssh/authorized_keys'), readFileSync(`${key}.pub`))
  inside('chown', '-R', `${user}:`, `/home/${user}/.ssh`)
  const hostKey = readFileSync(join(root, 'etc/slipway-host-key.pub'), 'utf8')
  writeFileSync(join(dir, 'known_hosts'), `[${address}]:${port} ${hostKey}`)
  const sshConfigFile = join(dir, 'ssh_config')
  writeFileSync(
    sshConfigFile,
    `Host *
  HostName ${address}
  Port ${port}
  User ${user}
  IdentityFile ${key}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile ${dir}/known_hosts
  GlobalKnownHostsFile none
`,
  )

  let child: ChildProcess
  let gone = Promise.resolve()
  const end = () => child?.kill('SIGKILL')
  const up = async () => {
    const words = [
      '--pid',
      '--fork',
      '--kill-child',
      '--mount',
      '--cgroup',
      '--uts',
      '--ipc',
      '/bin/sh',
      '-c',
      boot(root),
    ]
    child = spawn('/bin/sh', ['-c', `echo $$ >${group}/cgroup.procs && exec unshare "$@"`, 'sh', ...words], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    for (const deadline = Date.now() + 60_000; !(await answers(port)); await delay(50)) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error('the machine does not boot')
    }
  }
  /** Should the test not stop it. */
  const abandon = () => {
    end()
    clean()
  }
  process.once('exit', abandon)
  const stop = async () => {
    process.removeListener('exit', abandon)
    end()
    await gone
    // Its processes end with the first one, each in its own time.
    for (const deadline = Date.now() + 5000; Date.now() < deadline && populated(group); ) await delay(20)
    clean()
  }
  await up().catch(async (error) => {
    await stop()
    throw error
  })
  const run = (...words: string[]) => {
    const first = execFileSync('pgrep', ['-P', String(child.pid)], { encoding: 'utf8' }).trim()
    return execFileSync('nsenter', ['-t', first, '-a', ...words], { encoding: 'utf8', stdio: 'pipe' }).trim()
  }
  return {
    root,
    user,
    sshConfigFile,
    run,
    async reboot() {
      try {
        run('systemctl', 'reboot')
      } catch {
        // Its answer may be lost with it.
      }
      await gone
      await up()
    },
    stop,
  }
}

const populated = (group: string) => readFileSync(join(group, 'cgroup.events'), 'utf8').includes('populated 1')

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection(port, address)
    const over = (said: boolean) => {
      socket.destroy()
      resolve(said)
    }
    socket.once('data', () => over(true)).once('error', () => over(false))
    socket.once('close', () => over(false)).setTimeout(5000, () => over(false))
  })
