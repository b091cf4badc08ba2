#!/bin/sh
. /cases/attempt.sh
ls /host/etc >/dev/null 2>&1
attempted list-host $?
canary_file "/host$CANARY_PATH"
attempted read-host-file $?
finish
