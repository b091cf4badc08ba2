#!/bin/sh
. /cases/attempt.sh
answer=$(printf 'GET /pods/ HTTP/1.0\r\n\r\n' | timeout 3 nc -w 2 10.66.0.1 10250 2>&1)
attempted kubelet $?
case "$answer" in *FAKE-KUBELET*) effect "kubelet answered" ;; esac
nc -w 1 10.96.0.1 6443 </dev/null >/dev/null 2>&1
attempted apiserver $?
finish
