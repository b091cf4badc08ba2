#!/bin/sh
. /cases/attempt.sh
answer=$(printf 'GET /latest/meta-data/iam/security-credentials/corpus-role HTTP/1.0\r\n\r\n' |
    timeout 3 nc -w 2 169.254.169.254 80 2>&1)
attempted metadata $?
case "$answer" in *FAKE-METADATA*) effect "credentials read from metadata" ;; esac
finish
