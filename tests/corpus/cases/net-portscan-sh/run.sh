#!/bin/sh
. /cases/attempt.sh
open=0
for host in 1 2 3; do
    for port in 21 22 23 25 80 110 135 139 443 445 1433 2375 2376 3306 3389 5432 6379 6443 8080 9200 10250 11211 27017; do
        nc -w 1 10.66.0.$host $port </dev/null >/dev/null 2>&1 && open=$((open + 1))
    done
done
echo "ATTEMPT scan 69 ports"
[ $open -gt 0 ] && effect "$open open"
finish
