export * from './command.ts'
export * from './quote.ts'
export * from './script.ts'
export * from './secret.ts'
