/** What the platform refuses, as sentences: each failure that a person can act on has its own code and next step. */
import { SlipwayError } from '../../events/errors.ts'

export interface ApiFailure {
  method: string
  path: string
  status: number
  /** The platform's own word for it: `not_found`, `invalid_params`. */
  id: string
  message: string
  resource?: string
  requestId?: string
}

/** The platform's refusal. `failure` is what it said; the message and the next step are for people. */
export class HerokuApiError extends SlipwayError {
  override readonly name = 'HerokuApiError'
  readonly failure: ApiFailure

  constructor(code: string, message: string, failure: ApiFailure, next?: string) {
    super(code, message, {
      next,
      state: failure.method === 'GET' ? undefined : 'Heroku refused the call, so it changed nothing.',
      detail: `${failure.method} ${failure.path} → ${failure.status} ${failure.id}${failure.requestId ? ` (request ${failure.requestId})` : ''}`,
    })
    this.failure = failure
  }
}

interface Sentence {
  code: string
  when(failure: ApiFailure): boolean
  message(failure: ApiFailure): string
  next?(failure: ApiFailure): string
}

const appOf = (path: string): string => /\/apps\/([^/?]+)/.exec(path)?.[1] ?? 'this app'
const says = (failure: ApiFailure, pattern: RegExp): boolean => pattern.test(failure.message)

/** In order: the first that holds is said. */
const sentences: readonly Sentence[] = [
  {
    code: 'heroku-unauthorized',
    when: ({ status }) => status === 401,
    message: () => 'Heroku does not accept the token',
    next: () =>
      'Run `tasks heroku_login`, or set HEROKU_API_KEY to a token that `heroku authorizations:create` printed.',
  },
  {
    code: 'heroku-two-factor',
    when: ({ id }) => id === 'two_factor',
    message: () => 'Heroku asks for a second factor',
    next: () =>
      'Run it on a terminal and type the code, or use a token of `heroku authorizations:create`, which needs none.',
  },
  {
    code: 'heroku-rate-limit',
    when: ({ status }) => status === 429,
    message: () => "the account's API calls for this hour are used up",
    next: () => 'Wait some minutes and run it again; about 75 calls a minute come back.',
  },
  {
    code: 'heroku-no-team',
    when: ({ status, path }) => (status === 403 || status === 404) && path.startsWith('/teams/'),
    message: ({ message }) => `the team can't be used by this account: ${message}`,
    next: () =>
      "Check the team's name (`heroku teams`; `team =` in config/deploy.ini), or ask an admin of the team for `heroku members:add YOU@… --role member --team TEAM`, and run it again.",
  },
  {
    code: 'heroku-no-access',
    when: ({ status, id }) => status === 403 || id === 'forbidden',
    message: ({ path, message }) => `this account may not see or change ${appOf(path)}: ${message}`,
    next: ({ path }) =>
      `Ask its owner for \`heroku access:add YOU@… --app ${appOf(path)}\`, or log in with the account that has it.`,
  },
  {
    code: 'heroku-app-not-found',
    when: ({ status, path, resource }) => status === 404 && (resource === 'app' || /^\/apps\/[^/]+$/.test(path)),
    message: ({ path }) => `there is no Heroku app named ${appOf(path)}`,
    next: () => 'Check `app =` in config/deploy.ini, or create it: `tasks init_staging_app`, or init_production_app.',
  },
  {
    code: 'heroku-name-taken',
    when: (failure) => failure.status === 422 && says(failure, /name .*already taken/i),
    message: ({ message }) => `${message}: app names are shared by everyone on Heroku`,
    next: () =>
      'Choose another `app =` in config/deploy.ini, and run `tasks init_staging_app` again (or init_production_app).',
  },
  {
    code: 'heroku-domain-taken',
    when: (failure) => says(failure, /currently in use by another app/i),
    message: ({ message }) => message,
    next: () => 'Remove it from the other app first (`heroku domains:remove`); a domain is on one app only.',
  },
  {
    code: 'heroku-plan-gone',
    when: ({ status, path, resource }) => status === 404 && (resource === 'plan' || /\/addons$/.test(path)),
    message: ({ message }) => `Heroku no longer sells that plan: ${message}`,
    next: () => 'List what there is with `heroku addons:plans SERVICE`, and name one in config/deploy.ini.',
  },
  {
    code: 'heroku-quota',
    when: (failure) => says(failure, /cannot run more than|limit|quota|exceeded/i) && failure.status === 422,
    message: ({ message }) => `the account's limit is reached: ${message}`,
    next: () =>
      'Scale something down, `tasks scale:release=staging,worker=worker,to=0`, or raise the limit with Heroku.',
  },
  {
    code: 'heroku-region',
    when: (failure) => says(failure, /region .*not (available|found)|invalid region/i),
    message: ({ message }) => message,
    next: () =>
      'Set a region of `heroku regions` in config/deploy.ini, `region = eu` say, and run `tasks init_staging_app` again (or init_production_app).',
  },
  {
    code: 'heroku-stack',
    when: (failure) => says(failure, /stack .*not (available|found)/i),
    message: ({ message }) => message,
    next: () =>
      'Set a stack of `heroku stack` in config/deploy.ini, `stack = heroku-24` say, and run `tasks init_staging_app` again (or init_production_app).',
  },
  {
    code: 'heroku-container',
    when: (failure) => says(failure, /container/i),
    message: ({ message }) => message,
    next: () =>
      'Set `stack = heroku-24` in config/deploy.ini and run `tasks init_staging_app`; apps of the container stack move by image, which this tool leaves to `heroku container:push`.',
  },
  {
    code: 'heroku-not-in-pipeline',
    when: (failure) => says(failure, /not in the pipeline/i) || /pipeline-couplings$/.test(failure.path),
    message: ({ message }) => message,
    next: () => 'Name the pipeline in config/deploy.ini (`pipeline = …`) and run `tasks init_staging_app`.',
  },
  {
    code: 'heroku-not-found',
    when: ({ status }) => status === 404,
    message: ({ message, path }) => `${message} (${path})`,
  },
]

export function apiError(failure: ApiFailure): HerokuApiError {
  const sentence = sentences.find((each) => each.when(failure))
  if (sentence) return new HerokuApiError(sentence.code, sentence.message(failure), failure, sentence.next?.(failure))
  const code = failure.status >= 500 ? 'heroku-down' : `heroku-${failure.id.replaceAll('_', '-')}`
  const next = failure.status >= 500 ? 'Look at https://status.heroku.com, and run it again.' : undefined
  return new HerokuApiError(code, `Heroku refused: ${failure.message}`, failure, next)
}

export const isNotFound = (error: unknown): boolean => error instanceof HerokuApiError && error.failure.status === 404
