#!/bin/sh
. /cases/attempt.sh
pid=${HOST_PID:-1}
[ -d "/proc/$pid" ] || pid=1
answer=$(nsenter -t "$pid" -m -u -i -n -- cat "$CANARY_PATH" 2>&1)
attempted nsenter $?
case "$answer" in
    CORPUS-CANARY-*) canary "$answer" ;;
    *) echo "$answer" ;;
esac
finish
