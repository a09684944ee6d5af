// The pages of docs/ that are made from the source: troubleshooting.md from the failures that it can tell of,
// guide/events.md and schemas/ from the types of what is printed as JSON, guide/configuration.md from the table that
// config/deploy.ini is checked with.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { findErrors } from './docs-errors.mjs'
import { eventsPage } from './docs-events.mjs'
import { schemas } from './docs-schema.mjs'

const repository = join(import.meta.dirname, '..')

/** Path below docs/ and content of each page. */
export async function madePages() {
  return {
    'troubleshooting.md': troubleshooting(
      findErrors(join(repository, 'src')),
      (await importSource('src/cli/next-steps.ts')).nextSteps,
    ),
    'guide/events.md': eventsPage(join(repository, 'src/events/events.ts')),
    ...Object.fromEntries(
      Object.entries(schemas(join(repository, 'src'))).map(([file, text]) => [`../schemas/${file}`, text]),
    ),
    'guide/configuration.md': configuration(await importSource('src/config/manual.ts')),
  }
}

/** A module of src/, its types stripped. */
async function importSource(path) {
  const dir = mkdtempSync(join(tmpdir(), 'slipway-docs-'))
  try {
    const outfile = join(dir, 'module.mjs')
    await build({
      entryPoints: [join(repository, path)],
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile,
      logLevel: 'silent',
    })
    return await import(pathToFileURL(outfile).href)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const areas = [
  ['Command line and task files', /^src\/(cli|tasks|output|only-copy|bin)/],
  ['Configuration and secrets', /^src\/(config|application)/],
  ['Hosts and SSH', /^src\/(hosts|shell)/],
  ['Changes, locks and journals', /^src\/(engine|events)/],
  ['Promotion', /^src\/targets\/vps\/promotion/],
  ['Databases', /^src\/targets\/vps\/database/],
  ['Domains', /^src\/targets\/domains/],
  ['Heroku', /^src\/targets\/heroku/],
  ['Deployments on hosts', /^src\/targets/],
  ['The sandbox', /^src\/sandbox/],
  ['Other', /./],
]

/** What the syntax tree can't tell: messages that are another program's, or put together elsewhere. */
const passedOn = {
  aborted: 'interrupted',
  'bad-option': '(what is wrong with an option of `tasks`)',
  locked: '‹deployment› is locked by ‹user› on ‹machine› (‹command›), since ‹time›',
  'unfinished-change': '‹deployment› has an unfinished change by ‹user› on ‹machine› (‹command›), begun ‹time›',
  'step-failed': '(the step that failed, and why)',
  'two-copies': 'two copies of slipway were loaded: ‹one› and ‹other›',
  unexpected: '(what a library or the task itself threw)',
  'wrongly-used': '(what is wrong with the words after `slipway`)',
}

function troubleshooting(errors, nextSteps) {
  const codes = new Map()
  for (const error of errors) codes.set(error.code, [...(codes.get(error.code) ?? []), error])
  const sections = areas.map(([title]) => ({ title, codes: [] }))
  for (const [code, uses] of codes) {
    const area = areas.findIndex(([, pattern]) => pattern.test(uses[0].file))
    sections[area].codes.push([code, uses])
  }
  const body = sections
    .filter(({ codes: each }) => each.length > 0)
    .map(
      ({ title, codes: each }) =>
        `## ${title}\n\n${each.map(([code, uses]) => entry(code, uses, nextSteps[code])).join('\n')}`,
    )
  return `# Troubleshooting

<!-- Made by \`node scripts/docs.mjs\` from the source. Don't edit. -->

Every failure has a code, a sentence that says what failed and where, what is true now, and what to type next. This page lists them all. \`--json\` has the code in its events; \`--debug\` adds the stack. ‹angle brackets› stand for values, [square ones] for words that are there in some cases.

Exit statuses: 0 done, 1 a task failed, 2 used wrongly and nothing was changed for it, 130 interrupted; \`tasks run … -- command\` and \`tasks -H host -- command\` pass the command's own status on.

${body.join('\n')}`
}

function entry(code, uses, otherwise) {
  const unique = (texts) => [...new Set(texts.map(oneLine).filter((text) => text !== ''))]
  const own = unique(uses.flatMap(({ messages }) => messages))
  const messages = own.length > 0 ? own : [passedOn[code] ?? '(what the other side said)']
  const states = unique(uses.flatMap(({ state }) => state))
  const next = unique(uses.flatMap((use) => (use.next.length > 0 ? use.next : otherwise ? [otherwise] : [])))
  const exit = uses.every(({ kind }) => kind === 'UsageError') ? ' · exit status 2' : ''
  return [
    `### \`${code}\`${exit}\n`,
    ...messages
      .map((text) => `> ${escaped(text)}\n`)
      .join('>\n')
      .split('\n'),
    ...(states.length > 0 ? [`Then: ${states.map(escaped).join(' / ')}\n`] : []),
    ...(next.length > 0 ? [`Do: ${next.map(escaped).join(' / ')}\n`] : []),
  ].join('\n')
}

const oneLine = (text) => text.replace(/\s*\n\s*/g, ' ').trim()
/** As text in Markdown, outside of the code that the sentence itself marks. */
const escaped = (text) =>
  text
    .split(/(`[^`]*`)/)
    .map((part, index) => (index % 2 === 1 ? part : part.replace(/[\\*_<>[\]{}|]/g, (char) => `\\${char}`)))
    .join('')

const configuration = ({ configurationManual }) =>
  configurationManual().replace(
    '\n\n',
    "\n\n<!-- Made by `node scripts/docs.mjs` from src/config/keys.ts. Don't edit. -->\n\nWhat runs where. It is checked whole before anything connects, and every mistake is named with its line. A value may be `secret:NAME`: see [secrets](security.md#secrets).\n\n",
  )
