import { describe, expect, it } from 'vitest'
import { fingerprint, planFaults, planText } from '../../../src/engine/plan.ts'
import { newWorld, planOf, switchStep } from './world.ts'

describe('a plan', () => {
  it('is printed with every undo, the window and the point of no return', () => {
    const world = newWorld()
    const steps = [
      switchStep(world, 'a'),
      switchStep(world, 'b', { window: true }),
      switchStep(world, 'c', { window: true }),
      switchStep(world, 'd', { irreversible: 'mail is out' }),
    ]
    const window = { forward: async () => {}, back: async () => {} }
    const plan = planOf(steps, { pointOfNoReturn: 'c', afterwards: 'tasks demote', notes: ['window: 1.2 s'], window })
    expect(planText(plan)).toMatchInlineSnapshot(`
      [
        "turn everything on",
        "",
        "  1. turn a on",
        "     undo: turn a off",
        "  — from here on the host goes on by itself —",
        "  2. turn b on",
        "     undo: turn b off",
        "  — until here undo loses nothing; from here on there is tasks demote —",
        "  3. turn c on",
        "  — from here on from this machine again —",
        "  4. turn d on",
        "     can't be undone: mail is out",
        "",
        "  window: 1.2 s",
        "",
        "  locked meanwhile: a, b",
        "  plan ${fingerprint({ lamp: 'old' })}",
      ]
    `)
  })

  it('has the same fingerprint for the same facts in another order', () => {
    expect(fingerprint({ a: 1, b: { c: [1, 2], d: undefined } })).toBe(fingerprint({ b: { c: [1, 2] }, a: 1 }))
    expect(fingerprint({ a: 1 })).not.toBe(fingerprint({ a: 2 }))
  })

  it('must not have two steps of one name, a scattered window or an unknown point of no return', () => {
    const world = newWorld()
    const steps = [
      switchStep(world, 'a', { window: true }),
      switchStep(world, 'a'),
      switchStep(world, 'b', { window: true }),
    ]
    expect(planFaults(planOf(steps, { pointOfNoReturn: 'x' }))).toEqual([
      'two steps are called a',
      'the point of no return, x, is not a step',
      'the steps of the window are not together',
      'there are window steps, and nothing that runs them',
    ])
  })
})
