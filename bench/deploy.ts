/**
 * How long a deploy takes on loopback, by Slipway and by hand: OpenSSH with one connection kept open, rsync, and scripts
 * that do the same on the host: lock, new version of hard links, settings, migrations, the switch, the other slot
 * started, asked and let in, the old one drained, workers restarted, a line in a log, unlock. Run by deploy.sh:
 * `bench/deploy.sh [ROUNDS]`. Each is a process of its own and counts from its start to its end. Workers are waited for
 * as each does it: by hand with `supervisorctl`, which waits out startsecs, and again without any wait or proof.
 * Then ours once more, over a distance of 80 ms there and back.
 */
import { spawnSync } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '../src/config/load.ts'
import type { VpsConfig } from '../src/config/types.ts'
import { createRun, withRun } from '../src/events/index.ts'
import { createVpsDeployment } from '../src/targets/vps/create.ts'
import { bringUp, createProject, type Project } from '../test/integration/vps/host.ts'
import { farAway } from '../test/servers/far.ts'

/** What `deploy_staging` does. */
async function deploy(dir: string, sshConfigFile: string): Promise<void> {
  const config = loadConfig(dir)
  const run = createRun({ options: { projectDir: dir, sshConfigFile } })
  await withRun(run, async () => {
    const staging = createVpsDeployment(config, config.deployments['staging'] as VpsConfig)
    await staging.upload()
    await staging.install()
    await staging.server.restart()
    await staging.workers.restart()
  })
  await withRun(run, () => run.finish())
}

async function compare(rounds: number): Promise<void> {
  // A host each, so that neither finds the other's versions.
  const [ours, theirs] = [await started(), await started()]
  try {
    const script = join(theirs.dir, 'deploy.sh')
    writeFileSync(script, byHand)
    const hand = (wait: string) => () => sh(['sh', script, theirs.dir, theirs.sshConfigFile, theirs.home, wait])
    const slipway = () => sh([process.execPath, process.argv[1] as string, 'deploy', ours.dir, ours.sshConfigFile])
    for (const [title, changed] of [
      ['nothing changed', false],
      ['one file changed', true],
    ] as const) {
      const times: Record<string, number[]> = { 'by hand': [], 'by hand, no startsecs': [], slipway: [] }
      const contestants = { 'by hand': hand('wait'), 'by hand, no startsecs': hand('no'), slipway }
      for (let round = 0; round < rounds; round++) {
        for (const [name, act] of Object.entries(contestants)) {
          if (changed)
            for (const each of [ours, theirs]) appendFileSync(join(each.dir, 'app/pony/pages.py'), '# more\n')
          const begun = performance.now()
          act()
          times[name]?.push(performance.now() - begun)
        }
      }
      const bare = median(times['by hand'] ?? [])
      console.log(`${title}, ${rounds} rounds, median (least–most)`)
      for (const [name, all] of Object.entries(times)) {
        const span = `${Math.min(...all).toFixed(0)}–${Math.max(...all).toFixed(0)}`
        console.log(
          `  ${name.padEnd(22)} ${median(all).toFixed(0).padStart(5)} ms  ×${(median(all) / bare).toFixed(2)}  (${span})`,
        )
      }
    }
    const { far, sshConfigFile } = await farAway(ours.sshConfigFile, ours.dir, 80)
    for (const [title, changed] of [
      ['nothing changed', false],
      ['one file changed', true],
    ] as const) {
      const times: number[] = []
      const trips: number[] = []
      for (let round = 0; round < rounds; round++) {
        if (changed) appendFileSync(join(ours.dir, 'app/pony/pages.py'), '# more\n')
        await far.idle()
        far.reset()
        const begun = performance.now()
        await deploy(ours.dir, sshConfigFile)
        times.push(performance.now() - begun)
        trips.push(far.trips())
      }
      const span = `${Math.min(...times).toFixed(0)}–${Math.max(...times).toFixed(0)}`
      console.log(`at 80 ms, ${title}: ${median(times).toFixed(0)} ms (${span}), round trips: ${trips.join(', ')}`)
    }
    far.close()
  } finally {
    for (const each of [ours, theirs]) {
      await each.run((staging) => staging.supervisor.stop()).catch(() => {})
      await each.stop()
    }
  }
}

async function started(): Promise<Project> {
  const project = await createProject()
  await project.run(bringUp)
  return project
}

function sh(words: string[]): void {
  const done = spawnSync(words[0] as string, words.slice(1), { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`${words.join(' ')}: ${done.stdout}${done.stderr}`)
}

function median(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

/** sh DIR SSH_CONFIG HOME wait|no */
const byHand = String.raw`set -eu
cd "$1"
config=$2 control=$1/control.$$
host=pony-host release=$3/webapps/ponyr2 app=$3/.slipway/pony wait=$4
remote() { ssh -F "$config" -S "$control" $host "$@"; }
ssh -F "$config" -S "$control" -M -N -f -o ControlPersist=60 $host
trap 'ssh -F "$config" -S "$control" -O exit $host 2>/dev/null' EXIT
id=$(date -u +%Y%m%d-%H%M%S)-$(head -c 3 /dev/urandom | od -An -tx1 | tr -d ' \n')
remote sh -s "$release" "$app" "$id" <<'SCRIPT'
set -eu; release=$1 app=$2 id=$3
mkdir -p "$app/locks"; (set -C; echo "$id" >"$app/locks/hand.lock")
mkdir "$release/versions/$id"
SCRIPT
rsync -a --exclude=__pycache__ --exclude='*.pyc' --link-dest="$release/current/" \
  -e "ssh -F $config -S $control" app/ $host:"$release/versions/$id/"
remote sh -s "$release" "$app" "$id" <<'SCRIPT'
set -eu; release=$1 app=$2 id=$3
grep -q "$id" "$app/locks/hand.lock"
cd "$release/versions/$id"
mkdir -p "$release/shared/mail" "$release/shared/db" "$release/run" "$release/logs"
chmod 400 pony/private_credentials.py
umask 077
cat >"$release/settings/staging.ini.new" <<'INI'
[pony]
title = staging of ponyr2
key = 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
INI
mv -f "$release/settings/staging.ini.new" "$release/settings/staging.ini"
ln -sfn staging.ini "$release/settings/active"
cp -p "$release/etc/supervisord.conf" "$release/etc/supervisord.conf.new"; mv -f "$release/etc/supervisord.conf.new" "$release/etc/supervisord.conf"
before=$(basename "$(readlink "$release/current")")
SLIPWAY_VERSION=$before sh "$release/bin/start" run 'python3 -m pony.migrate --list' >"$release/.slipway/versions/$before.applied.hand"
SLIPWAY_VERSION=$id sh "$release/bin/start" run 'python3 -m pony.migrate' >/dev/null
SLIPWAY_VERSION=$id sh "$release/bin/start" run 'python3 -m pony.migrate --list' >"$release/.slipway/versions/$id.applied.hand"
ln -s "versions/$id" "$release/current.$$"; mv -fT "$release/current.$$" "$release/current"
[ "$(readlink "$release/current")" = "versions/$id" ]
SCRIPT
remote sh -s "$release" "$app" "$id" <<'SCRIPT'
set -eu; release=$1 app=$2 id=$3
grep -q "$id" "$app/locks/hand.lock"
link=$app/sites/staging/current.sock
case $(readlink "$link") in *app-a.sock) old=a new=b ;; *) old=b new=a ;; esac
control() { supervisorctl -c "$release/etc/supervisord.conf" "$@"; }
control update >/dev/null
control start app-$new >/dev/null
i=0
until curl -sf --unix-socket "$release/run/app-$new.sock" -D - -o /dev/null http://localhost/up 2>/dev/null | grep -qi "^x-release: ponyr2/$id"; do
  i=$((i+1)); [ $i -lt 300 ] || exit 1; sleep 0.02
done
ln -s "$release/run/app-$new.sock" "$link.$$"; mv -fT "$link.$$" "$link"
control stop app-$old >/dev/null
SCRIPT
remote sh -s "$release" "$app" "$id" "$wait" <<'SCRIPT'
set -eu; release=$1 app=$2 id=$3
grep -q "$id" "$app/locks/hand.lock"
if [ "$4" = wait ]; then supervisorctl -c "$release/etc/supervisord.conf" restart mailer-1 >/dev/null
else /usr/bin/python3 - "$release/run/supervisor.sock" <<'PYTHON'
import sys, xmlrpc.client
from supervisor.xmlrpc import SupervisorTransport
daemon = xmlrpc.client.ServerProxy('http://localhost', SupervisorTransport(serverurl='unix://' + sys.argv[1])).supervisor
daemon.stopProcess('mailer-1')
daemon.startProcess('mailer-1', False)
assert daemon.getProcessInfo('mailer-1')['statename'] in ('STARTING', 'RUNNING')
PYTHON
fi
echo "{\"what\":\"deploy\",\"version\":\"$id\"}" >>"$app/audit.log"
rm -f "$app/locks/hand.lock"
SCRIPT
`

if (process.argv[2] === 'deploy') await deploy(process.argv[3] as string, process.argv[4] as string)
else await compare(Number(process.argv[2] ?? 7))
