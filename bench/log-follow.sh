#!/bin/sh
# bench/log-follow.sh [LINES A SECOND] [SECONDS] [ROUNDS]: see log-follow.ts.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d .bench.XXXXXX)
trap 'rm -rf "$out"' EXIT
npx esbuild bench/log-follow.ts --bundle --platform=node --format=esm --packages=external --outfile="$out/bench.mjs" --log-level=warning
node "$out/bench.mjs" "$@"
