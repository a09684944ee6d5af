/** The platform's emulator, which users rehearse with too: its source is src/sandbox/heroku. Beside this, its app for tests. */
export * from '../../../src/sandbox/heroku/emulator.ts'
