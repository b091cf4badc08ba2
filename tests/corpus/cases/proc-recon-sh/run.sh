#!/bin/sh
. /cases/attempt.sh
[ -e /.dockerenv ] && echo dockerenv
cat /proc/1/cgroup /proc/self/mountinfo /proc/1/status /proc/self/uid_map /proc/self/attr/current 2>/dev/null | wc -l
grep -E 'Cap|Seccomp|NoNewPrivs' /proc/self/status
id
hostname
uname -a
mount | wc -l
ps | wc -l
ls -la /dev /var/run /run 2>/dev/null | wc -l
env | grep -iE 'kube|aws|token'
cat /proc/version /proc/cmdline /proc/modules 2>/dev/null | wc -c
ls -la /proc/1/root /var/run/docker.sock /run/containerd 2>&1 | head -3
find / -xdev -perm -4000 2>/dev/null | wc -l
effect "survey done"
finish
