export * from './command.ts'
export * from './quote.ts'
export * from './secret.ts'
