/** What is printed as JSON is what the schemas say: all of it, and nothing that they don't name. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Built, buildSlipway, repository } from '../../built.ts'
import { makeProject, type Project } from './project.ts'

const taskFile = `import { choice, flag, local, note, rest, result, string, task, warn } from 'slipway'

export const look = task({
  about: 'A bit of everything',
  group: 'Looking',
  params: { release: choice(['staging', 'production']), name: string().default('x'), loud: flag().about('louder') },
  run: async ({ release }) => {
    note('a note')
    warn('a warning')
    await local().probe\`echo \${release}\`
    await local().$\`touch made\`
    result({ some: ['value'] })
  },
})
export const fail = task({ about: 'Fails', run: () => local().$\`echo why >&2; exit 3\` })
export const words = task({ about: 'Words', hidden: true, params: { words: rest() }, run: ({ words }) => result(words) })
export default fail
`

let built: Built
let project: Project
beforeAll(async () => {
  built = await buildSlipway()
  project = makeProject({ 'tasks.ts': taskFile })
}, 120_000)
afterAll(() => {
  built.remove()
  project.remove()
})

/** What checks a value against a schema that is shipped. */
function validator(name: string) {
  const schema = JSON.parse(readFileSync(join(repository, `schemas/${name}.schema.json`), 'utf8'))
  return new Ajv2020({ allErrors: true, strict: false }).compile(schema)
}

const mistakes = (validate: ReturnType<typeof validator>, value: unknown) =>
  validate(value)
    ? []
    : [{ value, errors: validate.errors?.map(({ instancePath, message }) => `${instancePath} ${message}`) }]

describe('the schema of', () => {
  it.each([
    ['a run that ends well', ['look:staging,loud']],
    ['a dry run', ['look:staging', '-n']],
    ['a run that fails', ['fail']],
    ['a wrong use', ['look:nowhere']],
  ])('events holds for every line of %s', async (_, args) => {
    const validate = validator('events')
    const { out } = await project.run(built.tasks, [...args, '--json'])
    const events = out
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
    expect(events.flatMap((event) => mistakes(validate, event))).toEqual([])
    if (args[0] !== 'look:nowhere') expect(events.at(-1)).toMatchObject({ type: 'run.finished' })
  })

  it('events refuses what is no event', () => {
    const validate = validator('events')
    const shared = { v: 1, at: 1, run: 'x' }
    expect(mistakes(validate, { ...shared, type: 'note', text: 'x' })).toEqual([])
    expect(mistakes(validate, { ...shared, type: 'note' })).toHaveLength(1)
    expect(mistakes(validate, { ...shared, type: 'nonsense', text: 'x' })).toHaveLength(1)
    expect(mistakes(validate, { ...shared, v: 2, type: 'note', text: 'x' })).toHaveLength(1)
  })

  it('events names all the fields that are printed', async () => {
    const schema = JSON.parse(readFileSync(join(repository, 'schemas/events.schema.json'), 'utf8'))
    const [version, shared, { oneOf }] = schema.allOf
    const known = (type: string) => {
      const body = oneOf.find(
        (each: { properties: { type: { const: string } } }) => each.properties.type.const === type,
      )
      return new Set([version, shared, body].flatMap(({ properties }) => Object.keys(properties)))
    }
    const { out } = await project.run(built.tasks, ['look:staging', '--json'])
    for (const event of out
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))) {
      expect(Object.keys(event).filter((name) => !known(event.type).has(name))).toEqual([])
    }
  })

  it.each([
    ['tasks', 'tasks', ['--list', '--json']],
    ['history', 'slipway', ['history', '--json']],
    ['doctor', 'slipway', ['doctor', '--local', '--json']],
    ['sandbox', 'slipway', ['sandbox', 'status', '--json']],
    ['sandbox', 'slipway', ['sandbox', 'status', '--heroku', '--json']],
  ] as const)('%s holds', async (name, bin, args) => {
    const { out } = await project.run(built[bin], args)
    expect(mistakes(validator(name), JSON.parse(out))).toEqual([])
  })
})
