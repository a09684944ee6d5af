/** The last check: production asked from the operator's machine by its name. What it finds is told, and undoes nothing. */
import { currentRun } from '../../../events/index.ts'
import { judge } from '../health.ts'
import { visit, visitUrl } from '../outside.ts'
import type { PromotionFacts } from './facts.ts'

/** One line: what answered. */
export async function askOutside(facts: PromotionFacts): Promise<string> {
  const run = currentRun()
  const front = { domain: facts.domain, tls: facts.site.tls, port: facts.site.port, path: facts.health.path }
  const url = visitUrl(front)
  try {
    const answer = await visit(front)
    const { healthy, release } = judge(answer, facts.health, facts.next.sends)
    const text = `${url} answered ${answer.status}${release ? ` from ${release}` : ''}`
    if (!healthy || (facts.next.sends !== undefined && release === undefined))
      run.emit({
        type: 'warning',
        text: `${text}: not what the host answers; is there a cache or another server in front?`,
      })
    else run.emit({ type: 'note', text })
    return text
  } catch (error) {
    const text = `${url} can't be asked from here: ${(error as Error).message}`
    run.emit({ type: 'note', text })
    return text
  }
}
