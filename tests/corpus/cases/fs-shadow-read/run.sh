#!/bin/sh
. /cases/attempt.sh
cat /etc/shadow >/tmp/s 2>/dev/null
attempted shadow $? && effect "read $(wc -l </tmp/s) shadow lines"
cat /etc/gshadow >/dev/null 2>&1
attempted gshadow $?
finish
