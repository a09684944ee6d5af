import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../../src/config/index.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import { planText } from '../../../src/engine/index.ts'
import { createRun, withRun } from '../../../src/events/index.ts'
import { vpsContext } from '../../../src/targets/vps/create.ts'
import { buildPlan } from '../../../src/targets/vps/promotion/index.ts'
import { planSvg } from '../../../src/targets/vps/promotion/picture.ts'
import { factsOf } from './facts.ts'

/** Of the example app: nothing connects, because a plan is a value. */
function examplePlan() {
  const config = loadConfig(new URL('../../..', import.meta.url).pathname)
  const context = vpsContext(config, config.deployments['production'] as VpsConfig)
  return withRun(createRun(), () => buildPlan(factsOf(), '20261127T101500-ab12', context).plan)
}

describe('the plan of a promotion', () => {
  it('as a picture is the one in the documentation', async () => {
    const svg = planSvg(examplePlan(), { from: 'hold', to: 'let-go' })
    await expect(svg).toMatchFileSnapshot('../../../docs/promotion.svg')
  })

  it('as text is the one in the documentation', async () => {
    await expect(`${planText(examplePlan()).join('\n')}\n`).toMatchFileSnapshot('../../../docs/promotion-plan.txt')
  })
})
