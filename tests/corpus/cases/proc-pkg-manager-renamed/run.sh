#!/bin/sh
. /cases/attempt.sh
cp /usr/bin/dpkg /tmp/agent
mkdir -p /tmp/p/DEBIAN
printf 'Package: corpus-x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n' >/tmp/p/DEBIAN/control
chmod 755 /tmp/p/DEBIAN
dpkg-deb -b /tmp/p /tmp/p.deb >/dev/null 2>&1
attempt install /tmp/agent -i /tmp/p.deb && effect "package installed"
finish
