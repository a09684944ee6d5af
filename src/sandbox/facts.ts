/** What `slipway sandbox … --json` prints. */

export interface SandboxSite {
  app: string
  deployment: string
  domain: string
  /** What a browser on this machine can open. */
  url: string
}

/** The throwaway host: only `up: false` while it is down. */
export interface SandboxFacts {
  up: boolean
  /** The home of the host, as its commands see it. */
  home?: string
  user?: string
  /** For `ssh -F`: every destination is this host. */
  sshConfigFile?: string
  /** Where its sshd listens on 127.0.0.1. */
  sshPort?: number
  /** Where its web server listens on 127.0.0.1; sites are told apart by the Host header. */
  httpPort?: number
  sites?: SandboxSite[]
  /** With `--heroku`: where the emulator of the platform's API is. */
  url?: string
  /** With `--heroku`: the variables that a client needs. */
  environment?: Record<string, string>
}
