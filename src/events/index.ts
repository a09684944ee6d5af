export * from './bus.ts'
export * from './errors.ts'
export * from './events.ts'
export * from './run.ts'
