#!/bin/sh
. /cases/attempt.sh
cp /bin/busybox /tmp/.cache-sh 2>/dev/null
attempt chmod-suid chmod 4755 /tmp/.cache-sh &&
    [ -u /tmp/.cache-sh ] &&
    effect "set-uid file made (owner $(stat -c %u /tmp/.cache-sh))"
finish
