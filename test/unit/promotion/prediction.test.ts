import { expect, it } from 'vitest'
import { predictedWindow } from '../../../src/targets/vps/promotion/prediction.ts'

const trial = { stopMs: 100, copyMs: 1000, migrateMs: 200, startMs: 300 }

it('is the trial’s parts, and what every window has', () => {
  expect(predictedWindow(trial)).toBe(1850)
})

it('has what a part waited for requests less: they are held in the window', () => {
  const cpu = { stopCpuMs: 10, copyCpuMs: 400, migrateCpuMs: 50, startCpuMs: 60 }
  expect(predictedWindow({ ...trial, ...cpu, freed: 0 })).toBe(1850)
  // Of the 1080 ms in which nothing of it was computed, half were requests.
  expect(predictedWindow({ ...trial, ...cpu, freed: 0.5 })).toBe(1850 - 540)
  expect(predictedWindow({ ...trial, ...cpu, freed: 1 })).toBe(1850 - 1080)
})

it('takes no part for shorter than it computes, whatever was counted', () => {
  expect(predictedWindow({ ...trial, startCpuMs: 900, freed: 7 })).toBe(300 + 250)
})

it('adds what copying on a database server took at the rehearsal, which nobody counts here', () => {
  expect(predictedWindow({ ...trial, serverMs: 500, freed: 0.5 })).toBe(800 + 500 + 250)
})

it('has the old app start and stop once more where it answers reads meanwhile, on snapshots', () => {
  expect(predictedWindow({ ...trial, snapshotMs: 150 })).toBe(1850 + 150 + 300 + 100)
})
