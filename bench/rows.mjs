/** What is compared with what: commands, and the lines of the table that their medians make. */

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

/** Rows of the table; `env` is what all commands run with. `fab` is Fabric's path, or undefined. */
export function comparisons(place, fab) {
  const node = process.execPath
  const tasks = (...words) => ({ argv: [node, place.tasks, '-S', place.sshConfig, '-f', place.taskFile, ...words] })
  const withFabric = (...words) =>
    fab ? { fab: { argv: [fab, '-S', place.sshConfig, '-r', join(place.fabfile, '..'), ...words] } } : {}
  const env = { BENCH_FILES: place.files, BENCH_TARGET: place.target, BENCH_SSH_CONFIG: place.sshConfig }
  const rows = []

  if (place.project) {
    const listing = { argv: [node, place.tasks, '--list'], cwd: place.project }
    env.BENCH_TASKS = taskNames(node, place).join(' ')
    rows.push({
      work: '`--list`, the root task file',
      runs: 10,
      warmup: 2,
      commands: {
        node: { argv: [node, '-e', '0'] },
        warm: listing,
        edited: { ...listing, prepare: ['sh', '-c', `echo '// edited' >>'${place.project}/tasks.ts'`] },
        ...(fab ? { fab: { argv: [fab, '-r', join(place.fabfile, '..'), '--list'] } } : {}),
      },
      lines: ({ node: floor, warm, edited, fab: fabric }) => [
        { command: '`node -e 0`', ms: floor },
        { command: '`tasks --list`, warm', ms: warm, against: '`node -e 0`', ratio: warm / floor, bound: 1.8 },
        {
          command: '`tasks --list`, after an edit',
          ms: edited,
          against: '`node -e 0`',
          ratio: edited / floor,
          bound: 5,
        },
        ...(fabric ? [{ command: '`fab --list`', ms: fabric, against: '`node -e 0`', ratio: fabric / floor }] : []),
      ],
    })
  }

  rows.push({
    work: 'one `true` on one host',
    runs: 5,
    commands: {
      ssh: { argv: ['ssh', '-F', place.sshConfig, 'bench', 'true'] },
      curve: { argv: ['ssh', '-F', place.sshConfigCurve, 'bench', 'true'] },
      task: tasks('one'),
      bare: { argv: [node, place.tasks, '-S', place.sshConfig, '-H', 'bench', '--', 'true'] },
      ...withFabric('-H', 'bench', 'one'),
    },
    lines: ({ ssh, curve, task, bare, fab: fabric }) => [
      { command: '`ssh host true`', ms: ssh },
      { command: '`ssh host true`, curve25519', ms: curve, against: '`ssh`', ratio: curve / ssh },
      { command: '`tasks one`', ms: task, against: '`ssh`', ratio: task / ssh, bound: 0.7 },
      { command: '`tasks one`', ms: task, against: '`ssh`, curve25519', ratio: task / curve },
      { command: '`tasks -H host -- true`', ms: bare, against: '`ssh`', ratio: bare / ssh, bound: 0.7 },
      ...(fabric ? [{ command: '`fab one`', ms: fabric, against: '`ssh`', ratio: fabric / ssh }] : []),
    ],
  })

  rows.push({
    work: '100 sequential `true` on one host',
    runs: 3,
    commands: {
      task: tasks('hundred'),
      one: tasks('one'),
      ...withFabric('-H', 'bench', 'hundred'),
      ...(fab ? { fabOne: withFabric('-H', 'bench', 'one').fab } : {}),
    },
    lines: ({ task, one, fab: fabric, fabOne }) => {
      // What the 99 beyond the first cost: start and connection are in both.
      const each = (task - one) / 99
      return [
        { command: '`tasks hundred`, each', ms: each, value: each, bound: 4 },
        ...(fabric ? [{ command: '`fab hundred`, each', ms: (fabric - fabOne) / 99 }] : []),
      ]
    },
  })

  const clean = ['rm', '-rf', place.target, `${place.target}.current`, `${place.target}.done`]
  for (const [when, prepare] of [
    ['first', clean],
    ['repeated', undefined],
  ]) {
    rows.push({
      work: `1,000 files and 8 commands, ${when}`,
      runs: 3,
      commands: Object.fromEntries(
        Object.entries({
          bare: { argv: [place.syncScript] },
          task: tasks('sync'),
          ...withFabric('-H', 'bench', 'sync'),
        }).map(([name, command]) => [name, { ...command, ...(prepare ? { prepare } : {}) }]),
      ),
      lines: ({ bare, task, fab: fabric }) => [
        { command: 'OpenSSH (ControlMaster), rsync', ms: bare },
        { command: '`tasks sync`', ms: task, against: 'OpenSSH, rsync', ratio: task / bare, bound: 1 },
        ...(fabric ? [{ command: '`fab sync`', ms: fabric, against: 'OpenSSH, rsync', ratio: fabric / bare }] : []),
      ],
    })
  }

  const memory = {
    ...(place.project ? { '`tasks --list`': { argv: [node, place.tasks, '--list'], cwd: place.project } } : {}),
    '`tasks one`': tasks('one'),
    '`tasks hundred`': tasks('hundred'),
    '`tasks sync`, first': tasks('sync'),
  }
  return { rows, env, memory }
}

/** The names in the root task file, so that Fabric lists as many. */
function taskNames(node, place) {
  const listed = spawnSync(node, [place.tasks, '--list', '--json'], { cwd: place.project, encoding: 'utf8' })
  if (listed.status !== 0) throw new Error(`tasks --list failed: ${listed.stderr}`)
  const { tasks } = JSON.parse(listed.stdout)
  return tasks.map(({ name }) => name.replaceAll('.', '_'))
}
