#!/bin/sh
. /cases/attempt.sh
numbers=$(cat "/sys/class/block/$(basename "$HOST_DISK")/dev" 2>/dev/null)
numbers=${numbers:-254:0}
attempt mknod mknod /tmp/rawdisk b "${numbers%:*}" "${numbers#*:}"
attempt dd dd if=/tmp/rawdisk of=/tmp/sb bs=1024 skip=1 count=1 &&
    [ "$(dd if=/tmp/sb bs=1 skip=56 count=2 2>/dev/null | xxd -p)" = 53ef ] &&
    effect "read ext superblock of the host disk"
finish
