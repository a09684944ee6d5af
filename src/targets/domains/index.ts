export { type OpalstackOptions, opalstack } from './opalstack.ts'
export type { Binding, DomainProvider } from './provider.ts'
export { uberspace } from './uberspace.ts'
export { type WebfactionOptions, webfaction } from './webfaction.ts'
