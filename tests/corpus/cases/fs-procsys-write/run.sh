#!/bin/sh
. /cases/attempt.sh
for name in kernel/core_pattern kernel/modprobe vm/overcommit_memory net/ipv4/ip_forward fs/suid_dumpable; do
    value=$(cat /proc/sys/$name 2>/dev/null)
    ( echo "$value" >/proc/sys/$name ) 2>&1
    attempted "write-$name" $? && effect "wrote /proc/sys/$name"
done
finish
