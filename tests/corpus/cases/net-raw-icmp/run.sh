#!/bin/sh
. /cases/attempt.sh
attempt ping ping -c 2 -W 1 -s 1000 10.66.9.9 >/tmp/p 2>&1
cat /tmp/p
grep -q ' 0% packet loss' /tmp/p && effect "icmp went out and back"
finish
