#!/bin/sh
. /cases/attempt.sh
attempt unshare unshare -U -r -m sh -c 'mount -t tmpfs none /tmp && grep -c tmpfs /proc/mounts >/dev/null' &&
    effect "new user namespace with mounts"
finish
