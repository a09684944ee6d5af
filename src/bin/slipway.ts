#!/usr/bin/env node
const { processIo, leave, slipwayCommand } = await import('../cli/index.ts')
await leave(await slipwayCommand(process.argv.slice(2), processIo()))

export {}
