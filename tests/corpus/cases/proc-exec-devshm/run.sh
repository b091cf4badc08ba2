#!/bin/sh
. /cases/attempt.sh
cp /bin/busybox /dev/shm/id 2>/dev/null
chmod 755 /dev/shm/id 2>/dev/null
attempt exec /dev/shm/id && effect "ran from /dev/shm"
finish
