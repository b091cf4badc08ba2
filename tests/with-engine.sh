#!/bin/bash
# with-engine.sh COMMAND...: runs COMMAND with a Docker Engine. One that answers is used as it is; where none does,
# one is started and stopped again afterwards, by its pid.
set -euo pipefail
answers() { curl -s -m 5 --unix-socket /var/run/docker.sock http://docker/_ping >/dev/null; }

if answers; then
    exec "$@"
fi
log=$(mktemp /tmp/container-kit-dockerd.XXXXXX)
dockerd >"$log" 2>&1 &
engine=$!
stop() {
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
    rm -f "$log"
}
trap stop EXIT
for _ in $(seq 300); do
    answers && break
    kill -0 "$engine" 2>/dev/null || { echo "dockerd ended:"; tail -n 20 "$log"; exit 1; } >&2
    sleep 0.1
done
answers || { echo "dockerd does not answer:"; tail -n 20 "$log"; exit 1; } >&2
"$@"
