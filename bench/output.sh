#!/bin/sh
# bench/output.sh [RUNS]: what a keystroke, the view on a terminal and the report's page cost; see output.ts. Needs a
# build (npx tsdown), or one in $SLIPWAY_DIST; chromium for the page. Exit status 1 where a bound is not kept.
set -eu
# Where it is set, Node reads certificates at every start: that would be measured.
unset NODE_EXTRA_CA_CERTS
cd "$(dirname "$0")/.."
out=$(mktemp -d .bench.XXXXXX)
trap 'rm -rf "$out"' EXIT
trap 'exit 130' HUP INT TERM
npx esbuild bench/output.ts --bundle --platform=node --format=esm --packages=external --outfile="$out/bench.mjs" --log-level=warning
node "$out/bench.mjs" "$@"
