#!/bin/sh
# `tasks --list` against an empty Node program: warm, and after an edit. Medians, on this machine, in one run.
#   bench/list.sh [RUNS]        needs hyperfine and a build (npx tsdown); exit 1 where a bound is not kept
set -eu
# Where it is set, Node reads certificates at every start: that would be measured, not the list.
unset NODE_EXTRA_CA_CERTS
here=$(cd "$(dirname "$0")/.." && pwd)
runs=${1:-40}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME="$work/cache"
cd "$here"
tasks="$here/dist/bin/tasks.js"
[ -f tasks.ts ] || { echo "no tasks.ts in $here" >&2; exit 2; }

node "$tasks" --list >"$work/list"
hyperfine --shell=none --warmup 5 --runs "$runs" --export-json "$work/warm.json" --style none --output null \
  'node -e 0' "node $tasks --list" >/dev/null 2>&1
hyperfine --shell=none --warmup 2 --runs "$runs" --export-json "$work/edit.json" --style none --output null \
  --prepare "touch tasks.ts" "node $tasks --list" >/dev/null 2>&1

node -e '
  const read = (file) => JSON.parse(require("node:fs").readFileSync(file, "utf8")).results
  const [floor, warm] = read(process.argv[1])
  const [edit] = read(process.argv[2])
  const row = (name, result, bound) => {
    const ratio = result.median / floor.median
    console.log(`${name.padEnd(32)} ${(result.median * 1000).toFixed(1).padStart(6)} ms  ${ratio.toFixed(2)}x${bound ? `  (at most ${bound}x)` : ""}`)
    if (bound && ratio > bound) process.exitCode = 1
  }
  row("node -e 0", floor)
  row("tasks --list, warm", warm, 1.8)
  row("tasks --list, after an edit", edit, 5)
' "$work/warm.json" "$work/edit.json"
