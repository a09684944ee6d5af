#!/bin/sh
# bench/hosts.sh [ROUNDS] [NAME…]: see hosts.ts. Leaves nothing behind.
set -eu
repository=$(cd "$(dirname "$0")/.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
trap 'exit 130' HUP INT TERM
ln -s "$repository/node_modules" "$out/node_modules"
"$repository/node_modules/.bin/esbuild" "$repository/bench/hosts.ts" --bundle --platform=node --format=esm \
  --packages=external --outfile="$out/bench.mjs" --log-level=warning
node "$out/bench.mjs" "$@"
