#!/bin/sh
# The same work for bare OpenSSH: one ControlMaster connection, rsync and eight commands over it.
set -eu
target=$BENCH_TARGET
socket=$BENCH_TARGET.ctl
remote() { ssh -F "$BENCH_SSH_CONFIG" -S "$socket" bench "$@"; }
ssh -F "$BENCH_SSH_CONFIG" -o ControlMaster=yes -o ControlPersist=yes -S "$socket" -fN bench
trap 'ssh -F "$BENCH_SSH_CONFIG" -S "$socket" -O exit bench 2>/dev/null' EXIT
rsync -rlpt --delete --exclude /shared -e "ssh -F $BENCH_SSH_CONFIG -S $socket" "$BENCH_FILES/" "bench:$target"
remote "mkdir -p $target/shared"
remote "ln -sfn $target $target.current"
remote "chmod 700 $target"
remote "test -d $target/shared"
remote "ls $target.current"
remote date
remote "id -un"
remote "touch $target.done"
