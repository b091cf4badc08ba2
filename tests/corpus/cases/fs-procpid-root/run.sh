#!/bin/sh
. /cases/attempt.sh
pid=${HOST_PID:-1}
[ -d "/proc/$pid" ] || pid=1
ls "/proc/$pid/root/etc" >/dev/null 2>&1
attempted list-proc-root $?
canary_file "/proc/$pid/root$CANARY_PATH"
attempted read-proc-root $?
finish
