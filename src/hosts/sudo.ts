/**
 * Becoming another user. Without a password first; where sudo wants one it is asked once a run, tried, and then given
 * as the first line of standard input, under a prompt that nothing else prints. Other hosts are tried with the one that
 * was right before it is asked for again. Wrong twice is the end of it.
 */
import { randomBytes } from 'node:crypto'
import { SlipwayError } from '../events/errors.ts'
import { currentRun } from '../events/run.ts'
import { Secret } from '../shell/index.ts'
import { ConnectError, connectionLost } from './errors.ts'
import { nextTurn } from './promises.ts'
import type { Channel, Transport } from './transport.ts'
import type { WireOptions } from './wire.ts'

export interface SudoSite {
  readonly name: string
  readonly user: string
  transport(): Promise<Transport>
}

/** How to become `site.user` there: found out once a run and host. Rejects where it cannot be done. */
export function sudoFor(site: SudoSite, endpoint: string): Promise<WireOptions> {
  const kept = currentRun().memo(`sudo:${endpoint}:${site.user}`, (): { found?: Promise<WireOptions> } => ({}))
  kept.found ??= findOut(site).catch((error: unknown) => {
    // That the line was lost says nothing of sudo.
    if (!(error instanceof SlipwayError) || error instanceof ConnectError) delete kept.found
    throw error
  })
  return kept.found
}

async function findOut(site: SudoSite): Promise<WireOptions> {
  const run = currentRun()
  const transport = await site.transport()
  const plain = await attempt(site, transport, `LC_ALL=C sudo -n -k -H -u ${site.user} -- sh -c :`)
  if (plain.exitCode === 0) return { sudo: ['sudo', '-n'] }
  const text = plain.stderr.trim()
  if (plain.exitCode === 127 || /sudo: (command )?not found/.test(text)) {
    throw refused(site, 'sudo-missing', `there is no sudo on ${site.name}`, text)
  }
  if (!/password is required|a terminal is required|no tty present/.test(text)) {
    throw refused(site, 'sudo-refused', `sudo on ${site.name} does not let this user become ${site.user}`, text)
  }
  if (!run.prompter.interactive) {
    throw refused(
      site,
      'sudo-password',
      `sudo on ${site.name} wants a password, and there is no terminal to ask for it`,
      text,
    )
  }
  const passwords = run.memo('sudo passwords', () => ({
    turn: Promise.resolve(),
    right: undefined as string | undefined,
  }))
  // One host after the other: what is answered for the first is most often right for all.
  const turn = passwords.turn.then(() => withPassword(site, transport, passwords))
  passwords.turn = turn.then(
    () => {},
    () => {},
  )
  return await turn
}

/** `passwords.right` is the one that another host took; it is no answer, so a wrong one is not counted. */
async function withPassword(site: SudoSite, transport: Transport, passwords: { right: string | undefined }) {
  const run = currentRun()
  let asked = 0
  let answer = passwords.right
  for (;;) {
    if (answer === undefined) {
      answer = await run.prompter.password(`Password for sudo on ${site.name}${asked > 0 ? ' (that was wrong)' : ''}`)
      asked++
    }
    const password = new Secret(answer, 'sudo password')
    if (answer !== '') run.secrets.add(password)
    const prompt = `slipway-${randomBytes(9).toString('hex')}:`
    // -k: a password remembered by sudo would leave ours on standard input, for the command to read.
    const sudo = ['sudo', '-k', '-S', '-p', prompt]
    const tried = await attempt(
      site,
      transport,
      `LC_ALL=C ${sudo.join(' ')} -H -u ${site.user} -- sh -c :`,
      `${answer}\n`,
      prompt,
    )
    if (tried.exitCode === 0) {
      passwords.right = answer
      return { sudo, sudoPassword: password, sudoPrompt: prompt }
    }
    if (tried.prompts < 2 && !/incorrect password|try again/.test(tried.stderr)) {
      throw refused(
        site,
        'sudo-refused',
        `sudo on ${site.name} does not let this user become ${site.user}`,
        tried.stderr.replaceAll(prompt, ''),
      )
    }
    if (asked === 2)
      throw refused(site, 'sudo-wrong-password', `the password for sudo on ${site.name} was wrong twice`, '')
    answer = undefined
  }
}

function refused(site: SudoSite, code: string, message: string, detail: string): SlipwayError {
  return new SlipwayError(code, message, {
    host: site.name,
    detail: detail || undefined,
    state: `Nothing was run as ${site.user}.`,
    next: `Try on the host: sudo -u ${site.user} true`,
  })
}

/** Runs `line`; stops as soon as `prompt` is shown a second time, which means that the answer was wrong. */
async function attempt(site: SudoSite, transport: Transport, line: string, input = '', prompt?: string) {
  let gone: Error | undefined
  void transport.lost.then((error) => {
    gone = error
  })
  const channel: Channel = await transport.exec(line)
  let stderr = ''
  channel.stdin.on('error', () => {})
  channel.stdout.resume()
  const count = () => (prompt ? stderr.split(prompt).length - 1 : 0)
  channel.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    if (count() >= 2) channel.close()
  })
  channel.stdin.end(input)
  const { exitCode, signal } = await channel.exit
  if (exitCode === null && signal === null && count() < 2) {
    await nextTurn()
    if (gone) throw connectionLost(site.name, `what ${site.user} was to run`, gone.message, false)
  }
  return { exitCode, stderr, prompts: count() }
}
