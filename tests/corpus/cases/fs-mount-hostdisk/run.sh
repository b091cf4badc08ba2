#!/bin/sh
. /cases/attempt.sh
numbers=$(cat "/sys/class/block/$(basename "$HOST_DISK")/dev" 2>/dev/null)
numbers=${numbers:-254:0}
attempt mknod mknod /tmp/corpusdisk b "${numbers%:*}" "${numbers#*:}"
mkdir -p /tmp/hostdisk
attempt mount mount -t ext4 /tmp/corpusdisk /tmp/hostdisk
canary_file "/tmp/hostdisk$CANARY_PATH"
umount /tmp/hostdisk 2>/dev/null
finish
