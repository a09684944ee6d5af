/**
 * What every deployment does, wherever it runs: written once, run for each target. Each test is a run or a few of
 * them, as commands of the tool would be, on one deployment that `setup` prepared.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunEvent, RunOptions } from '../../src/events/index.ts'
import type { Deployment, LogLine } from '../../src/targets/deployment.ts'

export interface ContractSubject {
  /** Runs `fn` as a run of its own. */
  run<T>(fn: (deployment: Deployment) => Promise<T>, options?: RunOptions): Promise<{ value: T; events: RunEvent[] }>
  /** Changes a file of the app that is deployed. */
  changeCode(): Promise<void> | void
  /** Makes the app fail to start, until `repairCode`. */
  breakCode(): Promise<void> | void
  repairCode(): Promise<void> | void
  /** What a visitor gets: the status, and which version answered, as the app says. */
  visit(path: string): Promise<{ status: number; release: string }>
  /** Adds a row to the app's data; `rows` counts them. */
  addRow(): Promise<void> | void
  rows(): Promise<number> | number
  /** The name of a worker, and of a setting that may be changed. */
  worker: string
  setting: string
  /** A log source whose lines say something once the app has started. */
  logSource: string
  stop(): Promise<void>
}

export function deploymentContract(name: string, setup: () => Promise<ContractSubject>): void {
  describe(`a deployment on ${name}`, () => {
    let subject: ContractSubject
    beforeAll(async () => {
      subject = await setup()
    }, 120_000)
    afterAll(async () => {
      await subject?.stop()
    }, 60_000)
    const run: ContractSubject['run'] = (fn, options) => subject.run(fn, options)
    const value = async <T>(fn: (deployment: Deployment) => Promise<T>): Promise<T> => (await run(fn)).value

    test('a dry run of a deploy changes nothing', async () => {
      const before = await value((deployment) => deployment.versions().catch(() => []))
      await run(
        (deployment) =>
          deployment.deploy().catch((error: { code?: string }) => {
            if (error.code !== 'depends-on-stub') throw error
          }),
        { dryRun: true },
      )
      expect(await value((deployment) => deployment.versions().catch(() => []))).toEqual(before)
    }, 60_000)

    test('a deploy makes a version live, current and healthy', async () => {
      const version = await value((deployment) => deployment.deploy())
      expect(version).toMatchObject({ state: 'live', current: true, wasLive: true })
      expect((await subject.visit('/up')).status).toBe(200)
      const status = await value((deployment) => deployment.status())
      expect(status).toMatchObject({ healthy: true, maintenance: false, version: { id: version.id, current: true } })
      expect(status.server.map((each) => each.state)).toContain('running')
      const versions = await value((deployment) => deployment.versions())
      expect(versions[0]).toMatchObject({ id: version.id, current: true })
    }, 120_000)

    test('rollback goes to the version that was live before', async () => {
      const first = await subject.visit('/up')
      const [before] = await value((deployment) => deployment.versions())
      await subject.changeCode()
      const second = await value((deployment) => deployment.deploy())
      expect(second.id).not.toBe(before?.id)
      expect((await subject.visit('/up')).release).not.toBe(first.release)
      const back = await value((deployment) => deployment.rollback())
      expect(back).toMatchObject({ current: true, wasLive: true })
      const versions = await value((deployment) => deployment.versions())
      expect(versions.filter((version) => version.current)).toHaveLength(1)
      expect((await subject.visit('/up')).status).toBe(200)
    }, 120_000)

    test('a version that is not there can not be gone back to', async () => {
      await expect(run((deployment) => deployment.rollback({ to: 'no-such-version' }))).rejects.toMatchObject({
        name: expect.stringMatching(/Error$/),
      })
      expect((await subject.visit('/up')).status).toBe(200)
    }, 30_000)

    test('a deploy that does not work leaves the version before it serving', async () => {
      const before = await subject.visit('/up')
      await subject.breakCode()
      await expect(run((deployment) => deployment.deploy())).rejects.toMatchObject({ state: expect.any(String) })
      await subject.repairCode()
      expect(await subject.visit('/up')).toMatchObject({ status: 200, release: before.release })
    }, 120_000)

    test('the server stops and starts, and doing either twice is fine', async () => {
      await run((deployment) => deployment.server.stop())
      await run((deployment) => deployment.server.stop())
      const stopped = await value((deployment) => deployment.server.status())
      expect(stopped.every((each) => each.state === 'stopped')).toBe(true)
      await run((deployment) => deployment.server.start())
      await run((deployment) => deployment.server.start())
      expect((await subject.visit('/up')).status).toBe(200)
      const started = await value((deployment) => deployment.server.status())
      expect(started.map((each) => each.state)).toContain('running')
    }, 60_000)

    test('workers start, scale and stop, and leave the server alone', async () => {
      // One that waits for work may still be "starting" for a second to what runs it.
      const states = async () =>
        (await value((deployment) => deployment.workers.status())).filter((each) =>
          /^(running|starting)$/.test(each.state),
        ).length
      await run((deployment) => deployment.workers.start())
      expect(await states()).toBeGreaterThanOrEqual(1)
      await run((deployment) => deployment.workers.scale({ [subject.worker]: 2 }))
      expect(await states()).toBe(2)
      await run((deployment) => deployment.workers.scale({ [subject.worker]: 1 }))
      expect(await states()).toBe(1)
      await run((deployment) => deployment.workers.restart())
      expect(await states()).toBe(1)
      await run((deployment) => deployment.workers.stop())
      expect(await states()).toBe(0)
      expect((await subject.visit('/up')).status).toBe(200)
    }, 120_000)

    test('a worker that is not there can not be scaled', async () => {
      await expect(run((deployment) => deployment.workers.scale({ nobody: 2 }))).rejects.toMatchObject({ exitCode: 2 })
    })

    test('settings are set in one batch, say what changed, and can be removed', async () => {
      const { setting } = subject
      const changed = await value((deployment) => deployment.settings.set({ [setting]: 'a {"json": "value"} & more' }))
      expect(changed).toEqual([setting])
      expect((await value((deployment) => deployment.settings.get()))[setting]).toBe('a {"json": "value"} & more')
      expect(await value((deployment) => deployment.settings.set({ [setting]: 'a {"json": "value"} & more' }))).toEqual(
        [],
      )
      await run((deployment) => deployment.settings.set({ [setting]: null }))
      expect(await value((deployment) => deployment.settings.get())).not.toHaveProperty([setting])
    }, 60_000)

    test('maintenance is on during a function, and off again when that fails', async () => {
      const seen: boolean[] = []
      await expect(
        run((deployment) =>
          deployment.maintenance.during(async () => {
            seen.push(await deployment.maintenance.status())
            throw new Error('on purpose')
          }),
        ),
      ).rejects.toThrow('on purpose')
      seen.push(await value((deployment) => deployment.maintenance.status()))
      expect(seen).toEqual([true, false])
    }, 30_000)

    test('a database with data is not initialized again', async () => {
      await value((deployment) => deployment.database.init({ unlessThere: true }))
      await expect(run((deployment) => deployment.database.init())).rejects.toMatchObject({ code: 'has-data' })
    }, 60_000)

    test('a backup is listed and verified, and a restore brings its rows back', async () => {
      await subject.addRow()
      const rows = await subject.rows()
      const backup = await value((deployment) => deployment.database.backup())
      expect(backup.bytes).toBeGreaterThan(0)
      expect((await value((deployment) => deployment.database.backups())).map((each) => each.id)).toContain(backup.id)
      await value((deployment) => deployment.database.verify(backup.id))
      await subject.addRow()
      expect(await subject.rows()).toBe(rows + 1)
      await value((deployment) => deployment.database.restore(backup.id))
      expect(await subject.rows()).toBe(rows)
      expect((await subject.visit('/up')).status).toBe(200)
    }, 120_000)

    test('a one-off command passes its exit status on', async () => {
      expect(await value((deployment) => deployment.run(['sh', '-c', 'exit 7']))).toBe(7)
      expect(
        await value((deployment) => deployment.run(['sh', '-c', 'test "$1" = "it\'s  one"', 'sh', "it's  one"])),
      ).toBe(0)
    }, 60_000)

    test('logs end by themselves unless followed', async () => {
      const lines = await value(async (deployment) => {
        const read: LogLine[] = []
        for await (const line of deployment.logs({ source: subject.logSource, lines: 5 })) read.push(line)
        return read
      })
      expect(lines.length).toBeGreaterThan(0)
      expect(lines.length).toBeLessThanOrEqual(10)
    }, 30_000)

    test('prune leaves the current version and the one before', async () => {
      const current = (await value((deployment) => deployment.versions())).find((version) => version.current)
      const removed = await value((deployment) => deployment.prune({ keep: 1 }))
      expect(removed).not.toContain(current?.id)
      expect((await value((deployment) => deployment.versions())).find((version) => version.current)?.id).toBe(
        current?.id,
      )
      expect((await subject.visit('/up')).status).toBe(200)
    }, 60_000)
  })
}
