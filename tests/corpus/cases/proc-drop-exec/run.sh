#!/bin/sh
. /cases/attempt.sh
mkdir -p /tmp/.x11
base64 /bin/busybox >/tmp/.x11/b 2>/dev/null
base64 -d /tmp/.x11/b >/tmp/.x11/dbus
chmod 755 /tmp/.x11/dbus
rm -f /tmp/.x11/b
/tmp/.x11/dbus 2>&1 | head -1 | grep -q BusyBox
attempted exec $?
ln -sf /tmp/.x11/dbus /tmp/.x11/id
/tmp/.x11/id >/dev/null 2>&1
attempted exec-as-id $? && effect "dropped binary ran"
finish
