import '../only-copy.ts'

export * from './io.ts'
export * from './slipway.ts'
export * from './tasks.ts'
