#!/bin/sh
set -e
seq 1 5000 | awk '{print $1%97,$1}' | sort -n | uniq -c | sed 's/ \+/,/g' >o.txt
[ "$(grep -c , o.txt)" = 5000 ]
find /usr/share/doc -name copyright | head -50 | xargs -n 1 wc -l | tail -1
for i in $(seq 1 60); do basename /a/b/$i >/dev/null; done
