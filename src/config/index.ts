export { configFile, loadConfig, parseConfig } from './load.ts'
export { readDotenv, resolveSecret, resolveText, secretName } from './secrets.ts'
export type * from './types.ts'
