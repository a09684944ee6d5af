/** The last check: production asked from the operator's machine by its name. What it finds is told, and undoes nothing. */
import { currentRun } from '../../../events/index.ts'
import { visit, visitUrl } from '../outside.ts'
import type { PromotionFacts } from './facts.ts'

/** One line: what answered. */
export async function askOutside(facts: PromotionFacts): Promise<string> {
  const run = currentRun()
  const front = { domain: facts.domain, tls: facts.site.tls, port: facts.site.port, path: facts.health.path }
  const url = visitUrl(front)
  try {
    const { status, release } = await visit(front)
    const expected = facts.next.sends
    const right = status === facts.health.status && (expected === undefined || release === expected)
    const text = `${url} answered ${status}${release ? ` from ${release}` : ''}`
    if (!right)
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
