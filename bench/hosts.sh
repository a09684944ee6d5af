#!/bin/sh
# bench/hosts.sh [ROUNDS] [NAME…]: see hosts.ts.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d .bench.XXXXXX)
trap 'rm -rf "$out"' EXIT
npx esbuild bench/hosts.ts --bundle --platform=node --format=esm --packages=external --outfile="$out/bench.mjs" --log-level=warning
node "$out/bench.mjs" "$@"
