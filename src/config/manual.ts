/** The reference of config/deploy.ini, from the same table that checks it. */
import {
  appKeys,
  appTables,
  deploymentKeys,
  domainsKeys,
  herokuKeys,
  herokuTables,
  type Key,
  type Keys,
  notifyKeys,
  vpsKeys,
  vpsTables,
} from './keys.ts'

/** As Markdown. */
export function configurationManual(): string {
  return [
    '# config/deploy.ini',
    '',
    'A comment starts at `;` or `#`, at the beginning of a line or after white space. An indented line continues the value above. A section is a deployment if it has `target`.',
    ...chapter(
      '[app]',
      'What all deployments share. Each key may stand in a deployment’s section too, and holds there instead.',
      appKeys,
    ),
    ...tables('app', 'Sub-sections of [app], and of a deployment: `[app.workers]`, `[staging.workers]`.', appTables),
    ...chapter('[staging], [production], …', 'Any deployment.', deploymentKeys),
    ...chapter('target = vps', 'On hosts of one’s own.', vpsKeys),
    ...tables('staging', 'Sub-sections of such a deployment.', vpsTables),
    ...chapter('target = heroku', 'On Heroku.', herokuKeys),
    ...tables('staging', 'Sub-sections of such a deployment.', herokuTables),
    ...chapter('[domains]', 'What attaches domains to sites; other keys are the provider’s own.', domainsKeys),
    ...chapter('[notify.NAME]', 'Webhooks, any number.', notifyKeys),
    '',
    '## [secret_commands]',
    '',
    '`NAME = COMMAND`: the command prints the secret NAME. A secret is looked for in .env, the environment, here, and asked for at a terminal.',
    '',
  ].join('\n')
}

function chapter(title: string, about: string, keys: Keys): string[] {
  const rows = Object.entries(keys).map(([name, key]) => row(name, key))
  return ['', `## ${title}`, '', about, '', '| key | meaning | example | unless given |', '|---|---|---|---|', ...rows]
}

function tables(owner: string, about: string, keys: Keys): string[] {
  const rows = Object.entries(keys).map(
    ([name, key]) => `| \`[${owner}.${name}]\` | ${cell(key.about)} | ${code(key.example)} |`,
  )
  return ['', about, '', '| section | meaning | example |', '|---|---|---|', ...rows]
}

const row = (name: string, key: Key): string =>
  `| \`${name}\` | ${cell(key.about)} | ${code(key.example)} | ${key.required ? 'required' : key.standard === undefined ? '' : code(key.standard)} |`

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('{{', '&#123;&#123;')
const code = (text: string): string =>
  `<code>${text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('|', '&#124;').replaceAll('{{', '&#123;&#123;').replaceAll('\n', '<br>')}</code>`
