#!/bin/sh
# scripts/bare-machine.sh [COMMAND...]: README's two commands in a Debian that has nothing but Node, npm and git: a new
# root folder by debootstrap, with processes of its own. As root, on Debian; `npm ci`, `npm run demo` twice and
# `npm test` unless given something else to run in the clone. BARE=DIR names the folder, which is kept.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
bare=${BARE:-/var/tmp/slipway-bare}
[ "$(id -u)" = 0 ] || { echo 'bare-machine: only root can do this' >&2; exit 2; }
command -v debootstrap >/dev/null || { echo 'bare-machine: apt-get install debootstrap' >&2; exit 2; }
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")

if [ ! -e "$bare/.made" ]; then
  debootstrap --variant=minbase --include=ca-certificates,git "$suite" "$bare" >/dev/null
  cp /etc/resolv.conf "$bare/etc/"
  # What reaches the package registries from here: certificates and npm's own settings.
  cp /etc/ssl/certs/ca-certificates.crt "$bare/etc/ssl/certs/"
  [ ! -e "$HOME/.npmrc" ] || cp "$HOME/.npmrc" "$bare/root/.npmrc"
  global=$(npm config get globalconfig)
  [ ! -e "$global" ] || install -D -m 644 "$global" "$bare/usr/etc/npmrc"
  npm=$(dirname "$(readlink -f "$(command -v npm)")")/..
  mkdir -p "$bare/usr/lib/node_modules"
  cp "$(readlink -f "$(command -v node)")" "$bare/usr/bin/node"
  cp -R "$npm" "$bare/usr/lib/node_modules/npm"
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$bare/usr/bin/npm"
  ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$bare/usr/bin/npx"
  touch "$bare/.made"
fi
rm -rf "$bare/root/slipway"
git clone -q "$here" "$bare/root/slipway"

[ $# -gt 0 ] || set -- sh -c 'npm ci && npm run demo && npm run demo && CI=true .ci/run'
# Gone with this process, whatever is left running in there.
BARE=$bare exec unshare --mount --pid --fork --kill-child sh -c '
  cd "$BARE"
  mount -t proc proc proc
  mount -t tmpfs tmpfs dev
  mkdir dev/pts dev/shm
  for each in null zero full random urandom tty; do : > dev/$each; mount --bind /dev/$each dev/$each; done
  mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
  mount -t tmpfs tmpfs dev/shm
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  for n in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${n%%:*}" "dev/${n#*:}"; done
  exec chroot . env -i HOME=/root TERM=xterm LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt sh -c "cd /root/slipway && exec \"\$@\"" sh "$@"
' sh "$@"
