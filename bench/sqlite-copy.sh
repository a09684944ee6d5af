#!/bin/sh
# bench/sqlite-copy.sh [MEGABYTES] [ROUNDS]: see sqlite-copy.ts.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d .bench.XXXXXX)
trap 'rm -rf "$out"' EXIT
npx esbuild bench/sqlite-copy.ts --bundle --platform=node --format=esm --packages=external --outfile="$out/bench.mjs" --log-level=warning
node "$out/bench.mjs" "$@"
