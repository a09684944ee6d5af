/**
 * Where a domain leads, at whoever hosts it. A site stays what it is, and what it leads to is replaced: its
 * certificates never move, and putting the old value back undoes it.
 */

/** What a domain leads to. `raw` is what the provider keeps of it: enough to put it back exactly. */
export interface Binding {
  domain: string
  /** The provider's name for the app, or its port. */
  app: string
  path: string
  raw: unknown
}

export interface DomainProvider {
  readonly name: 'nginx' | 'opalstack' | 'uberspace' | 'webfaction' | 'none'
  readonly capabilities: {
    /** Every request gets the old app or the new one. */
    atomicFlip: boolean
    /** A change takes effect some time after it was accepted: `settled` waits for it. */
    async: boolean
    needsRoot: boolean
  }
  /** Makes the app, the domain and the site, where they are not there. Returns the port that the app gets, if it is told. */
  create(domain: string, app: string): Promise<{ port?: number }>
  /** The addresses that the domain's DNS has to have. */
  addresses(): Promise<string[]>
  /** What the domain leads to now, or null. */
  current(domain: string): Promise<Binding | null>
  /** What `attach` would do, as lines without secrets. Changes nothing. */
  plan(domain: string, app: string): Promise<{ before: Binding | null; calls: string[] }>
  /**
   * Leads the domain to `app`, if it still leads to what `ifCurrent` says; rejects with `domain-changed` otherwise.
   * Where it leads to `app` already, nothing is done.
   */
  attach(domain: string, app: string, ifCurrent: Binding | null): Promise<Binding>
  /** Puts an earlier binding back. */
  restore(binding: Binding): Promise<void>
  /** Resolves once the change has taken effect; rejects with `domain-unsettled` after `deadlineMs`. */
  settled(domain: string, app: string, deadlineMs: number): Promise<void>
}
