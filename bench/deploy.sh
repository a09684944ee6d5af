#!/bin/sh
# bench/deploy.sh [ROUNDS]: see deploy.ts. Leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d .bench.XXXXXX)
trap 'rm -rf "$out"' EXIT
trap 'exit 130' HUP INT TERM
# As deep as the file it comes from: it looks for the example app from there.
npx esbuild bench/deploy.ts --bundle --splitting --platform=node --format=esm --packages=external \
  --out-extension:.js=.mjs --outdir="$out/bench" --log-level=warning
node "$out/bench/deploy.mjs" "$@"
