/** What is compared, as a task file. BENCH_FILES is the folder of 1,000 small files, BENCH_TARGET where they go. */
import { hosts, task } from 'slipway'

const bench = hosts('bench').first()

export const one = task({
  about: 'One command on one host',
  run: () => bench.$`true`,
})

export const hundred = task({
  about: 'A hundred commands on one host, one after the other',
  run: async () => {
    for (let count = 0; count < 100; count++) await bench.$`true`
  },
})

export const sync = task({
  about: 'A thousand small files, and eight commands',
  run: async () => {
    const target = process.env['BENCH_TARGET']!
    await bench.rsync({
      source: `${process.env['BENCH_FILES']}/`,
      destination: target,
      delete: true,
      exclude: ['/shared'],
    })
    await bench.$`mkdir -p ${target}/shared`
    await bench.$`ln -sfn ${target} ${target}.current`
    await bench.$`chmod 700 ${target}`
    await bench.$`test -d ${target}/shared`
    await bench.$`ls ${target}.current`
    await bench.$`date`
    await bench.$`id -un`
    await bench.$`touch ${target}.done`
  },
})
