/** A promotion's specification as a plan of the engine: each step is done by the host's scripts, but for two. */
import { resolveText } from '../../../config/secrets.ts'
import { stepRecords } from '../../../engine/index.ts'
import type { Plan, Step, UndoData } from '../../../engine/types.ts'
import { currentRun, SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { lines, raw, type Secret, sh } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import { hostFacts } from '../facts.ts'
import { inVersion } from '../install.ts'
import { releaseLayout } from '../layout.ts'
import { reloadNginx, siteFolder, siteText } from '../nginx.ts'
import { providerOf } from '../provider.ts'
import { releaseFileSteps, writeFile } from '../release-files.ts'
import { factsOn, hostNamed } from './elsewhere.ts'
import type { PromotionFacts } from './facts.ts'
import { askOutside } from './outside.ts'
import { predictedWindow } from './prediction.ts'
import { refuseTooLong } from './preflight.ts'
import { serverEntry } from './servers.ts'
import { gateOnly } from './site.ts'
import { type ChangeSpec, placesOf, type StepSpec, specOf } from './spec.ts'
import { type Scripts, scriptsOn } from './window.ts'

export interface BuiltPlan {
  plan: Plan
  /** Puts the scripts on every host that has a part in it. */
  place(): Promise<void>
  /** Removes them: nothing was begun. */
  remove(): Promise<void>
}

/** The plan of change `id`. Pure but for what its steps do when they are done. */
export function buildPlan(facts: PromotionFacts, id: string, to: VpsContext, notes: readonly string[] = []): BuiltPlan {
  const host = to.home()
  const spec = specOf(facts, id)
  const titles = new Map(spec.steps.map((step) => [step.id, step.title]))
  const scripts = scriptsOn(host, facts.python, placesOf(facts, id).folder, titles)
  const parts: Part[] = [
    { facts, host, scripts, spec: { ...spec, steps: spec.steps.filter((step) => step.on === undefined) } },
    ...(facts.elsewhere ?? []).map((on): Part => {
      const [there, other] = [factsOn(facts, on), hostNamed(to, on.host)]
      const places = placesOf(there, id)
      const steps = spec.steps.filter((step) => step.on === on.host)
      return {
        facts: there,
        host: other,
        scripts: scriptsOn(other, on.python, places.folder, titles),
        spec: { ...spec, journal: places.journal, steps },
      }
    }),
  ]
  const partOf = (step: StepSpec): Part => parts.find((part) => part.host.name === step.on) ?? (parts[0] as Part)
  const old = facts.old?.release
  const plan: Plan = {
    kind: facts.kind,
    title: `${facts.app}: ${facts.next.release} becomes ${facts.production}${old ? `, in place of ${old}` : ''}`,
    facts: { ...facts },
    locks: [...new Set([facts.production, facts.staging?.deployment ?? 'staging'])],
    steps: spec.steps.map((step) => stepOf(step, partOf(step), id, to)),
    notes,
    pointOfNoReturn: spec.pointOfNoReturn,
    afterwards: facts.adopt
      ? `no way back by itself: what was in ${facts.adopt.folder} is kept there, its data renamed`
      : old
        ? '`tasks demote`, which carries the data back'
        : 'nothing to go back to',
    window: {
      ...scripts.window,
      // A run that was cut off may have left a step under way on any of the hosts.
      async settle(journal, direction) {
        for (const part of parts) await part.scripts.window.settle?.(journal, direction)
      },
      async forward(journal) {
        const trial = stepRecords(await journal.entries()).get('trial')
        if (trial?.data['startMs'] !== undefined) tellPrediction(trial.data, host)
        await scripts.window.forward(journal)
      },
    },
  }
  return {
    plan,
    async place() {
      await Promise.all(parts.map((part) => part.scripts.place(part.spec)))
    },
    async remove() {
      await Promise.all(parts.map((part) => part.scripts.remove()))
    },
  }
}

/** One host's part: what is true of it, its scripts, and the steps that they are for. */
interface Part {
  facts: PromotionFacts
  host: Host
  scripts: Scripts
  spec: ChangeSpec
}

function stepOf(spec: StepSpec, { facts, host, scripts }: Part, id: string, to: VpsContext): Step {
  const shown = {
    id: spec.id,
    title: spec.title,
    ...(spec.undoTitle === undefined ? {} : { undoTitle: spec.undoTitle }),
    ...(spec.irreversible === undefined ? {} : { irreversible: spec.irreversible }),
    ...(spec.window === undefined ? {} : { window: spec.window }),
  }
  if (spec.kind === 'settings') return { ...shown, ...settingsStep(facts, id, to, host) }
  if (spec.kind === 'site') return { ...shown, ...siteStep(facts, to, host) }
  if (spec.kind === 'init') return { ...shown, ...initStep(facts, id, to, host) }
  if (spec.kind === 'attach') return { ...shown, ...attachStep(facts, to, host) }
  if (spec.kind === 'outside') {
    return {
      ...shown,
      check: async () => 'todo',
      do: async () => ({ answer: await askOutside(facts) }),
    }
  }
  const step = hostStep(spec, scripts, host)
  if (spec.kind !== 'trial') return { ...shown, ...step }
  return {
    ...shown,
    ...step,
    async do(kept) {
      const data = await step.do(kept)
      if (data?.['startMs'] !== undefined) refuseTooLong(facts, predictedWindow(data))
      return data
    },
  }
}

/** A step that is done by the host's scripts, and believed once they find it done. */
export function hostStep(spec: StepSpec, scripts: Scripts, host: Host): Omit<Step, 'id' | 'title'> {
  let prepared: UndoData = {}
  return {
    async check() {
      const found = await scripts.state(spec.id)
      prepared = found.prepared
      return found.state
    },
    prepare: async () => prepared,
    async do(kept: UndoData) {
      const { state, data } = await scripts.act('do', spec.id, kept)
      if (data['leftOut']) tellLeftOut(host)
      if (state !== 'done')
        throw new SlipwayError('step-unproved', `afterwards it was not done: ${spec.title}`, {
          host: host.name,
          state: 'The host did it without a failure, and does not find what it was to bring about.',
        })
      return data
    },
    ...(spec.undoTitle === undefined
      ? {}
      : {
          undo: async (kept: UndoData) => {
            await scripts.act('undo', spec.id, kept)
          },
        }),
  }
}

/**
 * The release's files for production. They hold secrets, so the host never gets them in the specification; what they
 * replace is copied into the change's folder first, and put back by undo.
 */
function settingsStep(
  facts: PromotionFacts,
  id: string,
  to: VpsContext,
  host: Host,
): Pick<Step, 'check' | 'do' | 'undo'> {
  const release = releaseLayout(to.deployment.app.root, facts.home, facts.next.release)
  const { folder } = placesOf(facts, id)
  const was = `${folder}/settings-were`
  const done = `${folder}/settings-done`
  const scale = `${release.records}/scale.json`
  const kept = [release.activeSettings, release.start, release.supervisorConf, scale]
  const names = ['active', 'start', 'supervisord.conf', 'scale.json']
  return {
    async check() {
      const text = await host
        .run(sh`if [ -e ${done} ]; then echo done; elif [ -e ${was} ]; then echo unclear; else echo todo; fi`, {
          kind: 'probe',
          quiet: true,
        })
        .text()
      return text as 'done' | 'todo' | 'unclear'
    },
    async do() {
      const production = await hostFacts(to.deployment, host)
      const workers = JSON.stringify(production.scale)
      // Kept by what replaces them, however often that is begun: nothing can come between.
      const copies = kept.map(
        (path, index) =>
          sh`if [ -e ${path} ] || [ -L ${path} ]; then cp -pP ${path} ${`${was}.new/${names[index]}`}; fi`,
      )
      const keep = lines(
        sh`[ ! -e ${was} ] || exit 0`,
        sh`set -e; umask 077; rm -rf ${`${was}.new`}; mkdir -p ${`${was}.new`}`,
        ...copies,
        sh`mv ${`${was}.new`} ${was}`,
      )
      await host.script([
        { name: 'keep the files that are replaced', command: sh`(${keep})` },
        ...(await releaseFileSteps(to, host, production, release, facts.next.version)),
        { name: 'numbers of workers', command: sh`mkdir -p ${release.records}; printf '%s\n' ${workers} > ${scale}` },
        { name: 'record that it is done', command: sh`: > ${done}; sync ${done} 2>/dev/null || :` },
      ])
      return undefined
    },
    async undo() {
      const back = kept.map(
        (path, index) =>
          sh`if [ -e ${`${was}/${names[index]}`} ] || [ -L ${`${was}/${names[index]}`} ]; then cp -pP ${`${was}/${names[index]}`} ${`${path}.new`}; mv -fT ${`${path}.new`} ${path}; fi`,
      )
      const numbers = sh`[ ! -d ${was} ] || [ -e ${`${was}/scale.json`} ] || rm -f ${scale}`
      const version = sh`[ ! -e ${release.start} ] || cp -p ${release.start} ${release.versionStart(facts.next.version)}`
      await host.run(lines(sh`set -e`, ...back, numbers, version, sh`rm -rf ${done} ${was}`), {
        quiet: true,
        label: 'put the settings back',
      })
    },
  }
}

/** The production site's file, where there is none yet. */
function siteStep(facts: PromotionFacts, to: VpsContext, host: Host): Pick<Step, 'check' | 'do' | 'undo'> {
  const folder = `${facts.home}/.slipway/${facts.app}/sites/${facts.production}`
  const file = `${folder}/nginx.conf`
  return {
    async check() {
      return (await host.exists(file)) ? 'done' : 'todo'
    },
    async do() {
      const text = await siteText(
        to,
        await hostFacts(to.deployment, host),
        facts.site.toMake ?? [],
        gateOnly(facts.site.gateToken ?? ''),
      )
      await host.script([
        { name: 'folders', command: siteFolder(to, folder) },
        { name: 'nginx.conf', command: writeFile(file, text, 0o644) },
        { name: 'nginx takes it up', command: reloadNginx(file) },
      ])
      return undefined
    },
    async undo() {
      await host.run(sh`rm -f ${file}; ${reloadNginx(`${file}.gone`)}`, { quiet: true, label: 'remove the site' })
    },
  }
}

const settleWithinMs = 300_000

/**
 * The domain at its provider, compared and set; where it leads nowhere yet, its site is made. It can't be undone:
 * once it was asked for, requests may have reached the new release by it. Going back is a promotion the other way.
 */
function attachStep(
  { lead, domain }: PromotionFacts,
  to: VpsContext,
  host: Host,
): Pick<Step, 'check' | 'prepare' | 'do'> {
  if (!lead) throw new SlipwayError('bad-plan', 'there is nobody to lead the domain')
  return {
    async check() {
      const provider = await providerOf(to, host)
      if ((await provider.current(domain))?.app !== lead.app) return 'todo'
      // Accepted, and perhaps not in effect: then it is waited for once more.
      return provider.settled(domain, lead.app, 1000).then(
        () => 'done' as const,
        () => 'todo' as const,
      )
    },
    prepare: async () => ({ was: lead.before }),
    async do() {
      const provider = await providerOf(to, host)
      if (lead.before === null) await provider.create(domain, lead.app)
      const now = await provider.current(domain)
      if (now?.app !== lead.app) await provider.attach(domain, lead.app, lead.before ?? now)
      await provider.settled(domain, lead.app, settleWithinMs)
      return undefined
    },
  }
}

/** The app's own command, with the answers to what it would ask at a terminal. */
function initStep(facts: PromotionFacts, id: string, to: VpsContext, host: Host): Pick<Step, 'check' | 'do' | 'undo'> {
  const release = releaseLayout(to.deployment.app.root, facts.home, facts.next.release)
  const { folder } = placesOf(facts, id)
  const done = `${folder}/initialised`
  const servers = (facts.servers ?? []).map((server) => serverEntry(server, folder, id).empty)
  const filled = servers.map(
    (each) => sh`(
${raw(each.inspect)}
) | grep -q '^tables	[1-9]' && { echo unclear; exit; }`,
  )
  const paths = facts.items.map((item) => `${release.shared}/${item.path}`)
  const discard = sh`for p in ${paths}; do rm -rf "$p" "$p-wal" "$p-shm" "$p-journal"; done; rm -f ${done}`
  return {
    async check() {
      const text = await host
        .run(
          sh`if [ -e ${done} ]; then echo done; exit; fi; for p in ${paths}; do [ -f "$p" ] && { echo unclear; exit; }; done
${lines(...filled)}
echo todo`,
          {
            kind: 'probe',
            quiet: true,
          },
        )
        .text()
      return text as 'done' | 'todo' | 'unclear'
    },
    async do() {
      const answers: Record<string, string | Secret> = {}
      for (const [variable, value] of Object.entries(to.deployment.app.initAnswers ?? {})) {
        answers[variable] = await resolveText(to.config, value, `[app.init_answers] ${variable}`)
      }
      const folders = facts.items.map((item) =>
        item.kind === 'tree' ? `${release.shared}/${item.path}` : parent(`${release.shared}/${item.path}`),
      )
      if (folders.length > 0) await host.run(sh`mkdir -p ${folders}`, { quiet: true, label: 'folders for the data' })
      await host
        .env(answers)
        .run(inVersion(release, facts.next.version, facts.init ?? ':'), { label: facts.init ?? '' })
      await host.run(sh`: > ${done}`, { quiet: true, label: 'record that it is done' })
      return undefined
    },
    async undo() {
      await host.run(discard, { quiet: true, label: 'delete the new databases' })
      for (const each of servers) {
        // In one shell each: they end with their own status.
        for (const [what, program] of Object.entries({
          // An earlier attempt may have ended between making it and placing it.
          'drop what was left of an empty': each.dropScratch,
          'make an empty': each.make,
          place: each.place,
          drop: each.dropKept,
        })) {
          await host.run(sh`${raw(program)}`, { quiet: true, label: `${what} ${each.database}` })
        }
      }
    },
  }
}

const parent = (path: string): string => path.slice(0, path.lastIndexOf('/'))

function tellLeftOut(host: Host): void {
  const text =
    'nothing was tried beforehand: where the app reads the name of its database was not found in its environment or settings'
  currentRun().emit({ type: 'warning', host: host.name, text })
}

/** Just before requests are held. */
function tellPrediction(data: UndoData, host: Host): void {
  const seconds = (predictedWindow(data) / 1000).toFixed(1)
  currentRun().emit({
    type: 'note',
    host: host.name,
    text: `requests will wait for about ${seconds} s, as measured on the copies`,
  })
}
