/** Pipelines: couplings, and promotions that copy a release's slug to other apps. */
import { randomUUID } from 'node:crypto'
import { ApiError } from './http.ts'
import { release } from './releases.ts'
import { type Coupling, currentRelease, type Pipeline, type Promotion, type PromotionTarget } from './state.ts'
import { background, findApp, type World } from './world.ts'

export function pipelineRoutes(world: World): void {
  const { api, state, faults } = world
  const showPipeline = (each: Pipeline): unknown => ({
    id: each.id,
    name: each.name,
    owner: { id: state.account.id, type: 'user' },
    generation: { id: '6d0b7f1c-0f0b-4d6e-9a1a-ceda0ceda000', name: 'cedar' },
    created_at: each.createdAt,
    updated_at: each.createdAt,
  })
  const onePipeline = (identity: string): Pipeline => {
    const found = state.pipelines.find((each) => each.id === identity || each.name === identity)
    if (!found) throw new ApiError(404, 'not_found', "Couldn't find that pipeline.", { resource: 'pipeline' })
    return found
  }
  const showCoupling = (each: Coupling): unknown => ({
    id: each.id,
    app: { id: each.app.id },
    pipeline: { id: each.pipeline.id, name: each.pipeline.name },
    stage: each.stage,
    created_at: each.createdAt,
    updated_at: each.createdAt,
  })
  api.route('GET', '/pipelines', () => ({ body: state.pipelines.map(showPipeline) }))
  api.route('GET', '/pipelines/:pipeline', ({ params }) => ({ body: showPipeline(onePipeline(params['pipeline']!)) }))
  api.route('POST', '/pipelines', ({ body }) => {
    if (state.pipelines.some((each) => each.name === body.name))
      throw new ApiError(422, 'invalid_params', 'Name is already taken')
    const made: Pipeline = { id: randomUUID(), name: String(body.name), createdAt: faults.timestamp() }
    state.pipelines.push(made)
    return { status: 201, body: showPipeline(made) }
  })
  api.route('GET', '/pipelines/:pipeline/pipeline-couplings', ({ params }) => {
    const pipeline = onePipeline(params['pipeline']!)
    return { body: state.couplings.filter((each) => each.pipeline === pipeline).map(showCoupling) }
  })
  api.route('GET', '/apps/:app/pipeline-couplings', ({ params }) => {
    const app = findApp(world, params['app']!)
    const found = state.couplings.find((each) => each.app === app)
    if (!found)
      throw new ApiError(404, 'not_found', "Couldn't find that pipeline coupling.", { resource: 'pipeline_coupling' })
    return { body: showCoupling(found) }
  })
  api.route('POST', '/pipeline-couplings', ({ body }) => {
    const app = findApp(world, String(body.app?.id ?? body.app))
    const pipeline = onePipeline(String(body.pipeline?.id ?? body.pipeline))
    if (state.couplings.some((each) => each.app === app))
      throw new ApiError(422, 'invalid_params', 'App is already in a pipeline')
    const made: Coupling = { id: randomUUID(), app, pipeline, stage: String(body.stage), createdAt: faults.timestamp() }
    state.couplings.push(made)
    return { status: 201, body: showCoupling(made) }
  })
  const oneCoupling = (id: string): Coupling => {
    const found = state.couplings.find((each) => each.id === id)
    if (!found)
      throw new ApiError(404, 'not_found', "Couldn't find that pipeline coupling.", { resource: 'pipeline_coupling' })
    return found
  }
  api.route('PATCH', '/pipeline-couplings/:id', ({ params, body }) => {
    const found = oneCoupling(params['id']!)
    found.stage = String(body.stage)
    return { body: showCoupling(found) }
  })
  api.route('DELETE', '/pipeline-couplings/:id', ({ params }) => {
    const found = oneCoupling(params['id']!)
    state.couplings = state.couplings.filter((each) => each !== found)
    return { body: showCoupling(found) }
  })

  const showPromotion = (each: Promotion): unknown => ({
    id: each.id,
    pipeline: { id: each.pipeline.id },
    source: { app: { id: each.source.id }, release: { id: each.release.id } },
    status: each.targets.some((target) => target.status === 'pending') ? 'pending' : 'completed',
    created_at: each.createdAt,
    updated_at: each.createdAt,
  })
  const onePromotion = (id: string): Promotion => {
    const found = state.promotions.find((each) => each.id === id)
    if (!found) throw new ApiError(404, 'not_found', "Couldn't find that pipeline promotion.")
    return found
  }
  api.route('POST', '/pipeline-promotions', ({ body }) => {
    const pipeline = onePipeline(String(body.pipeline?.id))
    const source = findApp(world, String(body.source?.app?.id))
    const coupled = state.couplings.find((each) => each.app === source && each.pipeline === pipeline)
    if (!coupled) throw new ApiError(422, 'invalid_params', 'The source app is not in the pipeline.')
    if (source.buildStack === 'container')
      throw new ApiError(422, 'invalid_params', 'Pipeline promotions of container apps are not supported.')
    const wanted = body.source?.release?.id
    const chosen = wanted ? source.releases.find((each) => each.id === wanted) : currentRelease(source)
    if (!chosen?.slug || chosen.status !== 'succeeded')
      throw new ApiError(422, 'invalid_params', 'The source release has no code to promote.')
    const promotion: Promotion = {
      id: randomUUID(),
      pipeline,
      source,
      release: chosen,
      targets: (body.targets ?? []).map(
        (each: { app: { id: string } }): PromotionTarget => ({
          id: randomUUID(),
          app: findApp(world, each.app.id),
          status: 'pending',
          release: null,
          error: null,
        }),
      ),
      createdAt: faults.timestamp(),
    }
    state.promotions.push(promotion)
    for (const target of promotion.targets) {
      background(world, async () => {
        if (faults.on.promotionDelayMs > 0)
          await new Promise((resolve) => setTimeout(resolve, faults.on.promotionDelayMs))
        if (target.app.buildStack !== source.buildStack) {
          target.status = 'failed'
          target.error = `Stack ${source.buildStack} of the source is not the target's ${target.app.buildStack}.`
          return
        }
        const made = release(world, target.app, {
          description: `Promote ${source.name} v${chosen.version} ${(chosen.slug?.commit ?? '').slice(0, 8)}`.trimEnd(),
          slug: chosen.slug,
        })
        target.release = made.release
        const finished = await made.done
        target.status = finished.status === 'succeeded' ? 'succeeded' : 'failed'
        if (target.status === 'failed') target.error = 'Release command failed.'
      })
    }
    return { status: 201, body: showPromotion(promotion) }
  })
  api.route('GET', '/pipeline-promotions/:id', ({ params }) => ({ body: showPromotion(onePromotion(params['id']!)) }))
  api.route('GET', '/pipeline-promotions/:id/promotion-targets', ({ params }) => {
    const promotion = onePromotion(params['id']!)
    return {
      body: promotion.targets.map((target) => ({
        id: target.id,
        app: { id: target.app.id },
        pipeline_promotion: { id: promotion.id },
        release: target.release ? { id: target.release.id } : null,
        status: target.status,
        error_message: target.error,
      })),
    }
  })
}
