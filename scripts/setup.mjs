/**
 * Installs what the demo and the tests need from Debian, and only what is missing: `node scripts/setup.mjs [demo|test]`.
 * Asks before it uses root, except in CI or as root. Nothing that it installs is started, now or at the next boot.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { pathToFileURL } from 'node:url'

/** What has to be there, by Debian package: a program, or a module of the system's Python; and services to keep off. */
const demo = [
  { package: 'openssh-client', program: 'ssh' },
  { package: 'openssh-server', program: 'sshd', units: ['ssh.service', 'ssh.socket'] },
  { package: 'rsync', program: 'rsync', units: ['rsync.service'] },
  { package: 'python3', program: '/usr/bin/python3' },
  { package: 'supervisor', program: 'supervisord', units: ['supervisor.service'] },
  { package: 'nginx-light', program: 'nginx', units: ['nginx.service'] },
  { package: 'sqlite3', program: 'sqlite3' },
  { package: 'git', program: 'git' },
  { package: 'openssl', program: 'openssl' },
  { package: 'postgresql', program: '/usr/lib/postgresql/*/bin/initdb', units: ['postgresql.service'] },
  { package: 'python3-psycopg2', module: 'psycopg2' },
]
const test = [
  ...demo,
  { package: 'procps', program: 'ps' },
  { package: 'sudo', program: 'sudo' },
  { package: 'busybox', program: 'busybox' },
  { package: 'age', program: 'age' },
  { package: 'cron', program: 'cron', units: ['cron.service'] },
  { package: 'tmux', program: 'tmux' },
  { package: 'chromium', program: 'chromium' },
  { package: 'dropbear-bin', program: 'dropbear' },
  { package: 'krb5-kdc', program: 'krb5kdc', units: ['krb5-kdc.service'] },
  { package: 'krb5-admin-server', program: 'kadmin.local', units: ['krb5-admin-server.service'] },
  { package: 'krb5-user', program: 'kinit' },
  { package: 'mariadb-server', program: 'mariadbd', units: ['mariadb.service'] },
  { package: 'redis-server', program: 'redis-server', units: ['redis-server.service'] },
  { package: 'python3-venv', module: 'ensurepip' },
  { package: 'python3-django', module: 'django' },
  { package: 'gunicorn', program: 'gunicorn' },
  { package: 'python3-celery', module: 'celery' },
  { package: 'python3-redis', module: 'redis' },
  { package: 'python3-alembic', module: 'alembic' },
]
const sets = { demo, test }

/** Makes sure that a set is installed. Throws, saying what to type, where it can't be. */
export async function setup(name, { log = console.log } = {}) {
  const missing = sets[name].filter((need) => !isThere(need))
  if (missing.length === 0) return
  const packages = missing.map((need) => need.package)
  const byHand = `apt-get install --no-install-recommends ${packages.join(' ')}`
  if (!existsSync('/usr/bin/apt-get')) {
    throw new Error(
      `Missing here: ${missing.map((need) => need.program ?? `Python module ${need.module}`).join(', ')}.\n` +
        `This is not Debian: install them your way (Debian's packages are ${packages.join(', ')}) and try again.`,
    )
  }
  log(`Missing Debian packages: ${packages.join(', ')}`)
  const asRoot = await becomingRoot(byHand)
  const [program, ...args] = [...asRoot, 'sh', '-c', script(missing)]
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  if (error || status !== 0) throw new Error(`Installing them failed. By hand, as root: ${byHand}`)
  const still = missing.filter((need) => !isThere(need))
  if (still.length > 0)
    throw new Error(`Installed, yet not to be found: ${still.map((need) => need.package).join(', ')}`)
}

/** How a root command begins: nothing as root, sudo otherwise, after a question unless nobody is there to ask. */
async function becomingRoot(byHand) {
  if (process.getuid() === 0) return []
  if (!find('sudo')) throw new Error(`They need root, and there is no sudo here. As root: ${byHand}`)
  if (process.env.CI) return ['sudo', '-n']
  if (!process.stdin.isTTY) throw new Error(`They need root, and there is no terminal to ask. Run: sudo ${byHand}`)
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const answer = await terminal.question('Install them with sudo apt-get? None of them is started. [Y/n] ')
  terminal.close()
  if (!/^(y|yes|)$/i.test(answer.trim())) throw new Error(`Not installed. By hand: sudo ${byHand}`)
  return ['sudo']
}

/** policy-rc.d keeps packages from starting what they bring; one that is there already is the machine's own. */
function script(missing) {
  const units = missing.flatMap((need) => need.units ?? []).join(' ')
  return `
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\\nexit 101\\n' > $policy
  chmod 755 $policy
fi
apt-get update -qq -o DPkg::Lock::Timeout=120 || echo 'apt-get update failed; trying with what is known' >&2
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold ${missing
    .map((need) => need.package)
    .join(' ')} > /tmp/slipway-apt.$$ 2>&1 || { cat /tmp/slipway-apt.$$; rm -f /tmp/slipway-apt.$$; exit 1; }
rm -f /tmp/slipway-apt.$$
if [ -d /run/systemd/system ] && [ -n "${units}" ]; then systemctl disable --quiet ${units} 2>/dev/null || true; fi
`
}

function isThere({ program, module }) {
  if (module) {
    const code = `import importlib.util, sys; sys.exit(importlib.util.find_spec('${module}') is None)`
    return spawnSync('/usr/bin/python3', ['-c', code], { stdio: 'ignore' }).status === 0
  }
  return find(program) !== undefined
}

/** A program by name, where root's programs are too; or by path, with one * in it. */
function find(program) {
  const star = program.indexOf('*')
  if (star >= 0) {
    const [before, after] = [program.slice(0, star), program.slice(star + 1)]
    const names = existsSync(before) ? readdirSync(before) : []
    return names.map((name) => before + name + after).find((path) => existsSync(path))
  }
  if (program.startsWith('/')) return existsSync(program) ? program : undefined
  const dirs = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin']
  return dirs.map((dir) => join(dir, program)).find((path) => existsSync(path))
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const name = process.argv[2] ?? 'test'
  if (!(name in sets)) {
    console.error(`usage: node scripts/setup.mjs [${Object.keys(sets).join('|')}]`)
    process.exit(2)
  }
  await setup(name).catch((error) => {
    console.error(error.message)
    process.exit(1)
  })
}
