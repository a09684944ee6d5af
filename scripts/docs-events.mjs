// The page on `--json`: every event, its fields and what they are, from the types and comments in src/events.
import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { docComment } from './docs-comments.mjs'

/** The page's text, from the file that declares `EventBody`. */
export function eventsPage(file) {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true)
  const alias = (name) => source.statements.find((each) => ts.isTypeAliasDeclaration(each) && each.name.text === name)
  const events = alias('EventBody').type.types.map(described)
  const record = source.statements.find((each) => ts.isInterfaceDeclaration(each) && each.name.text === 'ErrorRecord')
  return `# Events: \`--json\`

<!-- Made by \`node scripts/docs.mjs\` from src/events/events.ts. Don't edit. -->

\`tasks … --json\` prints one JSON object a line on stdout, as things happen, and nothing else. Everything that is shown or kept derives from these events: the terminal, CI logs, \`slipway show\`, the report.

\`\`\`bash
tasks deploy_staging --json > events.json
slipway show --json
\`\`\`

A JSON schema of a line is in the package: \`slipway/schemas/events.schema.json\`. Beside it are those of \`tasks --list --json\` (\`tasks.schema.json\`), \`slipway doctor --json\`, \`slipway history --json\` and \`slipway sandbox status --json\`.

Each has \`v\` (the version of the form, now 1), \`type\`, \`at\` (milliseconds since 1970), \`run\` (the run's id), and \`task\` (the id of the task that it happened in, if any). Within a version, events and fields are only ever added. Secrets have been scrubbed. An \`Outcome\` is \`ok\`, \`failed\`, \`aborted\` (interrupted, or a sibling failed) or \`stopped\` (a dry run could not go on).

${events.map(section).join('\n')}
An \`error\` has:

${fieldTable(record.members.map(field))}`
}

function described(member) {
  const fields = member.members.map(field)
  const type = fields.find(({ name }) => name === 'type').type.replaceAll("'", '')
  return { type, about: docComment(member), fields: fields.filter(({ name }) => name !== 'type') }
}

const field = (member) => ({
  name: member.name.getText(),
  optional: member.questionToken !== undefined,
  type: member.type.getText().replace(/\s+/g, ' '),
  about: docComment(member),
})

const section = ({ type, about, fields }) => `## \`${type}\`\n${about ? `\n${about}\n` : ''}\n${fieldTable(fields)}`

const fieldTable = (fields) =>
  `| field | |\n|---|---|\n${fields
    .map(
      ({ name, optional, type, about }) =>
        `| \`${name}\`${optional ? ', if any' : ''} | ${`\`${type}\`${about && `: ${about}`}`.replaceAll('|', '\\|')} |`,
    )
    .join('\n')}\n`
