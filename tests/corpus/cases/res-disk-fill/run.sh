#!/bin/sh
. /cases/attempt.sh
dd if=/dev/zero of=/tmp/fill bs=1M count=400 2>&1 | tail -1
echo "ATTEMPT fill"
df /tmp | tail -1 | grep -q '100%' && effect "file system full"
rm -f /tmp/fill
finish
