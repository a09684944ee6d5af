export * from './errors.ts'
export { hostGroup, hosts } from './group.ts'
export type * from './host.ts'
export { host, local } from './remote-host.ts'
