#!/bin/sh
set -e
echo hi >index.html
python3 -m http.server 8099 --bind 127.0.0.1 >/dev/null 2>&1 &
server=$!
curl -s --retry 50 --retry-connrefused --retry-delay 1 --retry-max-time 20 http://127.0.0.1:8099/
for i in 1 2 3 4 5; do [ "$(curl -s http://127.0.0.1:8099/)" = hi ]; done
kill $server
