/**
 * Programs put before the system's own in a sandbox's PATH, so that nothing done there reaches the real machine:
 * its crontab, its services, its power switch, the user's ssh keys.
 */
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const powerSwitches = ['reboot', 'shutdown', 'poweroff', 'halt']

/** Writes the stand-ins into `<dir>/bin`. `dir` also holds the crontab, and the ssh_config of the sandbox. */
export async function writeStandIns(dir: string): Promise<string> {
  const bin = join(dir, 'bin')
  await mkdir(bin, { recursive: true })
  const programs: Record<string, string> = {
    crontab: crontab(join(dir, 'crontab')),
    systemctl: refusal('systemctl', 'a sandbox has no systemd'),
    loginctl: refusal('loginctl', 'a sandbox has no systemd'),
    ssh: `#!/bin/sh\n# From here, ssh reaches the sandbox only, with its own keys.\nexec /usr/bin/ssh -F '${join(dir, 'ssh_config')}' "$@"\n`,
  }
  for (const name of powerSwitches) programs[name] = refusal(name, 'a sandbox shares the machine it runs on')
  await writePrograms(bin, programs)
  return bin
}

/** Writes what only a sandbox with an nginx has: `nginx` means that one, and `sudo` never leaves the sandbox. */
export async function writeHostStandIns(dir: string, nginx: readonly string[]): Promise<void> {
  await writePrograms(join(dir, 'bin'), {
    nginx: `#!/bin/sh\n# The nginx of this sandbox.\nexec ${nginx.map((word) => `'${word}'`).join(' ')} "$@"\n`,
    sudo: sudo(dir),
  })
}

/**
 * Login shells read /etc/profile, which sets PATH anew on Debian: these files of the home put the stand-ins first
 * again. Files of those names that somebody else wrote are left.
 */
export async function writeProfiles(home: string, bin: string): Promise<void> {
  const mark = '# Written by slipway: what the sandbox has in place of the programs of the machine comes first.'
  for (const name of ['.profile', '.zprofile']) {
    const file = join(home, name)
    const there = await readFile(file, 'utf8').catch(() => mark)
    if (there.startsWith(mark)) await writeFile(file, `${mark}\nPATH='${bin}':$PATH\nexport PATH\n`)
  }
}

async function writePrograms(bin: string, programs: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(programs)) {
    // Written beside and renamed: the old one may be running.
    await writeFile(join(bin, `${name}.new`), text)
    await chmod(join(bin, `${name}.new`), 0o755)
    await rename(join(bin, `${name}.new`), join(bin, name))
  }
}

/** The variable that every process of a sandbox carries, so that `down` finds them, daemons too. */
export function sandboxMarker(dir: string): Record<string, string> {
  return { SLIPWAY_SANDBOX: dir }
}

function refusal(name: string, why: string): string {
  return `#!/bin/sh\necho "${name}: not available here: ${why}" >&2\nexit 1\n`
}

/** crontab(1) as far as POSIX has it (-l, -r, a file, standard input), on a file of our own. Nothing is scheduled. */
function crontab(file: string): string {
  return `#!/bin/sh
table='${file}'
[ "\${1:-}" = -u ] && shift 2
case "\${1:--}" in
-l) [ -f "$table" ] && exec cat "$table"; echo "no crontab for $(id -un)" >&2; exit 1 ;;
-r) [ -f "$table" ] && exec rm "$table"; echo "no crontab for $(id -un)" >&2; exit 1 ;;
-) cat > "$table.new" && mv "$table.new" "$table" ;;
-*) echo "crontab: option $1 is not supported in a sandbox" >&2; exit 1 ;;
*) cp -- "$1" "$table.new" && mv "$table.new" "$table" ;;
esac
`
}

/**
 * sudo(8) for a host with one user: that user is its root as well. Another user is reached where the real sudo lets
 * us, with the sandbox's variables, which the real one would drop.
 */
function sudo(dir: string): string {
  return `#!/bin/sh
user=root
while [ $# -gt 0 ]; do
  case "$1" in
  -u | --user) user=$2; shift 2 ;;
  -p | -g | --prompt | --group) shift 2 ;;
  -v | -l | -k | -K) exit 0 ;;
  --) shift; break ;;
  -n | -S | -E | -H | -A) shift ;;
  -*) echo "sudo: $1 is not supported in a sandbox" >&2; exit 1 ;;
  *) break ;;
  esac
done
[ $# -gt 0 ] || exit 0
if [ "$user" = root ] || [ "$user" = "$(id -un)" ]; then exec env "$@"; fi
if [ "$(id -u)" = 0 ]; then
  exec /usr/bin/sudo -n -u "$user" -- env "PATH=$PATH" "HOME=$HOME" 'SLIPWAY_SANDBOX=${dir}' "$@"
fi
echo "sudo: a sandbox of an ordinary user has no user $user" >&2
exit 1
`
}
