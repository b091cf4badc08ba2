#!/bin/sh
. /cases/attempt.sh
if attempt remount mount -o remount,rw,bind /proc/sys; then
    value=$(cat /proc/sys/vm/overcommit_memory)
    ( echo "$value" >/proc/sys/vm/overcommit_memory ) 2>&1 && effect "wrote the same value to vm.overcommit_memory"
fi
finish
