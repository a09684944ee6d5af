export { configFile, loadConfig, parseConfig } from './load.ts'
export { readDotenv, resolveSecret, resolveText, secretName } from './secrets.ts'
export { didYouMean, nearest } from './suggest.ts'
export type * from './types.ts'
