#!/bin/sh
. /cases/attempt.sh
for file in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/latency_stats /proc/kmsg /proc/kallsyms \
    /dev/mem /dev/kmsg /sys/firmware/acpi/tables/DSDT /sys/kernel/debug/sched/features; do
    bytes=$(head -c 64 $file 2>/dev/null | wc -c)
    echo "ATTEMPT read-$file bytes=$bytes"
    [ "$bytes" -gt 0 ] && effect "$file readable"
done
finish
