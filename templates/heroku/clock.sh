#!/usr/bin/env bash
# A clock process: runs the commands of [app.schedule] at their times, in UTC. Made anew by each deploy.
set -f
export TZ=UTC

# Whether one field of a crontab line holds for a value: FIELD VALUE LOWEST HIGHEST
holds() {
  local part from to step IFS=,
  for part in $1; do
    step=1
    case $part in */*) step=${part#*/}; part=${part%/*}; to=$4 ;; *) to= ;; esac
    case $part in
      '*') from=$3 to=$4 ;;
      *-*) from=${part%-*} to=${part#*-} ;;
      *) from=$part; to=${to:-$part} ;;
    esac
    if ((10#$2 >= 10#$from && 10#$2 <= 10#$to && (10#$2 - 10#$from) % 10#$step == 0)); then return 0; fi
  done
  return 1
}

# Whether it is time at MINUTE HOUR DAY MONTH WEEKDAY, for a crontab's five fields.
due() {
  holds "$6" "$1" 0 59 && holds "$7" "$2" 0 23 && holds "$9" "$4" 1 12 || return 1
  local day weekday
  holds "$8" "$3" 1 31; day=$?
  holds "${10}" "$5" 0 7 || { [[ $5 == 0 ]] && holds "${10}" 7 0 7; }; weekday=$?
  # As cron: where both are given, either of them is enough.
  if [[ $8 != '*' && ${10} != '*' ]]; then ((day == 0 || weekday == 0)); else ((day == 0 && weekday == 0)); fi
}

declare -A running
# Starts NAME COMMAND, unless it still runs; its output and its end are in the log.
begin() {
  if [[ -n ${running[$1]} ]] && kill -0 "${running[$1]}" 2>/dev/null; then
    echo "[$1] still runs, so it is not started again"
    return
  fi
  {
    bash -c "$2" 2>&1 | sed -u "s/^/[$1] /"
    status=${PIPESTATUS[0]}
    ((status == 0)) || echo "[$1] exited with status $status"
  } &
  running[$1]=$!
}

trap 'exit 0' TERM INT
__ENTRIES__
echo "the clock runs, with ${#names[@]} scheduled commands"
for i in "${!names[@]}"; do
  if [[ ${times[$i]} == @reboot ]]; then begin "${names[$i]}" "${commands[$i]}"; fi
done
last=$(($(date +%s) / 60))
while :; do
  now=$(($(date +%s) / 60))
  # A minute that was slept over is made up for; hours are not.
  if ((now - last > 5)); then last=$((now - 1)); fi
  while ((last < now)); do
    last=$((last + 1))
    fields=$(date -d "@$((last * 60))" '+%M %H %d %m %w')
    for i in "${!names[@]}"; do
      if [[ ${times[$i]} != @reboot ]] && due $fields ${times[$i]}; then begin "${names[$i]}" "${commands[$i]}"; fi
    done
  done
  sleep $((60 - $(date +%s) % 60)) &
  wait $!
done
