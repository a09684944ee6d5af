import { defineConfig } from 'tsdown'

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'testing/index': 'src/testing/index.ts',
    'bin/tasks': 'src/bin/tasks.ts',
    'bin/slipway': 'src/bin/slipway.ts',
  },
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  fixedExtension: false,
  // The public modules have types; the commands are not imported by anyone.
  dts: { entry: ['src/index.ts', 'src/testing/index.ts'] },
  hash: true,
})
