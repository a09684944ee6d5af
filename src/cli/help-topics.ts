/** `slipway help TOPIC`: what a person wants to know at a prompt, in a screenful each. The guide in docs/ has the rest. */
import { UsageError } from '../events/errors.ts'
import { didYouMean } from '../suggest.ts'

export interface HelpTopic {
  about: string
  text: string
}

export const helpTopics: Readonly<Record<string, HelpTopic>> = {
  'task-file': {
    about: 'writing tasks.ts',
    text: `tasks.ts is looked for here and then upward. Its exports are the tasks, its default export the default one.

  import { application, task } from 'slipway'

  const app = application({ deployments: ['staging', 'production'] })

  export const restart_app = task({
    about: 'Restart the app server',
    params: { release: app.deployment },
    run: ({ release }) => release.server.restart(),
  })

Tasks call each other as functions: await restart_app({ release: app.staging }).
  once: true             at most once a run, for the same parameters
  group: 'looking'       the heading in the list; hidden: true leaves it out
  export * as db from './tasks/db.ts'      gives db.copy, db.size …
The file may be tasks.js too, and lie where no node_modules is.`,
  },
  tasks: {
    about: 'calling tasks',
    text: `  tasks                                  the default task
  tasks -l                               the list; --json for programs
  tasks start_app:release=staging        parameters in one word, as in Fabric; or the value alone: start_app:staging
  tasks start_app --release staging      as options
  tasks rsync_code install_app           several, in order; the first failure ends the run
  tasks run:staging -- ls -l             words after -- go to the task that takes them
  tasks -H web1,web2 -- uptime           a command on hosts, without a task

In the one-word form a comma in a value is written \\, and only the first = counts.
deploy_staging may be written deploy-staging.

Exit status: 0 done, 1 a task failed, 2 used wrongly (nothing has connected), 130 interrupted. A one-off command
(run, -H … --) passes its own status on.`,
  },
  hosts: {
    about: 'which hosts, and how many at a time',
    text: `A host is an ssh destination: an alias of ~/.ssh/config, user@host, or ssh://user@host:port. Your own ssh
configuration holds, as \`ssh -G\` resolves it: keys, agent, jump hosts, known_hosts.

  -H web1,web2     only these hosts            -R web     only hosts with this role
  -x web3          not this one                -z 5       at most five at a time
  --serial         one after the other         -P         all at once, as tasks do anyway
  -S FILE          another ssh configuration (also SLIPWAY_SSH_CONFIG)

They narrow what tasks do over several hosts. If nothing used them, that is an error; so is an empty selection.
In a task: hosts('web1', 'web2').each((host) => host.$\`uptime\`), app.production.role('web').each(…).`,
  },
  'dry-run': {
    about: '-n, --plan and --step',
    text: `  tasks deploy_staging -n                          run it with every change held back and shown
  tasks promote_staging_to_production --plan       print every step, with real values, and stop
  tasks deploy_staging --step                      ask before each change

-n runs the task: host.probe and file reads really run, host.$ and writes are shown and held back. A task that looks
at the result of something held back stops there, and the run goes on with the next. What a task does by other means
(fs, fetch, zx) can't be held back.
--plan is exact: for changes made of steps (promote, restore, rollback, clone) it reads everything and changes nothing.
--step asks on a terminal, and the first no ends the run; locks and the audit log are no questions.`,
  },
  configuration: {
    about: 'config/deploy.ini',
    text: `config/deploy.ini says what runs where. [app] is shared, each other section is a deployment.

  [app]                          [staging]
  name = pony                    target = vps              (or heroku: app = pony-staging)
  server = exec bin/serve        hosts = deploy@web1
  listen = socket                release = 2026r2
  install = …                    domain = staging.pony.example.org
  migrate = …                    settings = staging.ini
  health = /up

  [app.workers] [app.databases] [app.shared] [app.logs] [app.environment] [app.schedule] [app.hooks]
  [production.roles]  [domains] provider = nginx  [secret_commands]

All of it is checked at once: slipway doctor. Every key: docs/guide/configuration.md.`,
  },
  secrets: {
    about: '.env, and what is never shown',
    text: `A secret is named, and its value is found when it is needed: in .env, in the environment, by a command under
[secret_commands] (a password manager's), or by asking at a terminal.

  config/deploy.ini      API_KEY = secret:API_KEY
  config/staging.ini     key = {{ secret:API_KEY }}
  tasks.ts               host.env({ API_KEY: await app.secret('API_KEY') }).$\`bin/sync\`

Values are shown as ••• everywhere: output, logs, errors, reports. They travel by stdin or 0600 file; as an argument
of a command they are refused. .env belongs into .gitignore, with mode 600.`,
  },
  settings: {
    about: "the app's own settings",
    text: `config/staging.ini and config/production.ini are the app's own settings, in whatever form it reads. On the host they
are rendered into the release's settings/ folder (mode 600), and SLIPWAY_SETTINGS is the path of the active one.

  {{ secret:NAME }}      a secret of .env
  {{ generate:NAME }}    a random key, made once and kept on the host

  tasks diff_settings:staging      what a push would change
  tasks push_settings:staging      render them again; restart_app makes the app read them`,
  },
  promotion: {
    about: 'staging becomes production',
    text: `  tasks promote_staging_to_production --plan       every step, with real values
  tasks promote_staging_to_production              asks once, then does it
  tasks promote_staging_to_production --resume     goes on after an interruption
  tasks promote_staging_to_production --undo       goes back

The data of production is copied while requests wait in a socket's queue; the new production is checked before any
real request gets in; then what the site points at is flipped. Nothing is deleted. An unfinished one locks both.`,
  },
  sandbox: {
    about: 'rehearsing on this machine',
    text: `  slipway sandbox up                a real sshd and nginx on loopback, as you, with a home of their own
  tasks --sandbox init_staging      your own configuration, against it
  slipway ssh staging --sandbox     a shell there
  slipway sandbox status | down | reset

It touches neither your home nor your ssh files, and needs no root.`,
  },
  output: {
    about: 'what is shown, kept and told to programs',
    text: `Results are on stdout, everything else on stderr: \`tasks status | less\`, \`tasks … | jq\`.

  -q         results, warnings and errors only       -v       quiet commands and timings too
  --debug    everything, with stack traces           --json   one event a line; "v" is the version of the form
  NO_COLOR, FORCE_COLOR                              hold

On a terminal a run is a live tree; elsewhere plain lines with [host]; in GitHub Actions groups and annotations, in
GitLab sections. Each run is kept under .slipway/runs: slipway history, slipway show, slipway report.`,
  },
}

/** The topic's text, or the list of topics. Throws a UsageError with the nearest name. */
export function helpText(topic: string | undefined): string {
  if (topic === undefined) {
    const width = Math.max(...Object.keys(helpTopics).map((name) => name.length))
    const lines = Object.entries(helpTopics).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`)
    return `Topics:\n${lines.join('\n')}\n\n  slipway help TOPIC\n`
  }
  const name = Object.keys(helpTopics).find((each) => each === topic.replaceAll('_', '-'))
  if (name !== undefined) return `${helpTopics[name]!.text}\n`
  throw new UsageError('no-topic', `there is no help about "${topic}"`, {
    next: didYouMean(topic, Object.keys(helpTopics)) ?? '`slipway help` lists the topics.',
  })
}
