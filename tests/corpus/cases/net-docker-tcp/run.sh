#!/bin/sh
. /cases/attempt.sh
answer=$(printf 'GET /version/ HTTP/1.0\r\n\r\n' | timeout 3 nc -w 2 10.66.0.1 2375 2>&1)
attempted docker-tcp $?
case "$answer" in *FAKE-DOCKER*) effect "docker API answered" ;; esac
finish
