/**
 * Programs put before the system's own in a sandbox's PATH, so that nothing done there reaches the real machine:
 * its crontab, its services, its power switch, the user's ssh keys.
 */
import { chmod, mkdir, writeFile } from 'node:fs/promises'
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
  for (const [name, text] of Object.entries(programs)) {
    await writeFile(join(bin, name), text)
    await chmod(join(bin, name), 0o755)
  }
  return bin
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
