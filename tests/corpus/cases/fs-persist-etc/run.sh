#!/bin/sh
. /cases/attempt.sh
mkdir -p /etc/cron.d /etc/profile.d 2>/dev/null
for file in /etc/cron.d/sysstat2 /etc/profile.d/zz.sh /etc/ld.so.preload /root/.bashrc /etc/passwd; do
    ( echo "# corpus" >>$file ) 2>/dev/null
    attempted "append-$file" $? && effect "wrote $file"
done
finish
