#!/bin/sh
. /cases/attempt.sh
attempt apt-get apt-get -o Acquire::Retries=0 install -y nmap 2>&1 | tail -2
mkdir -p /tmp/p/DEBIAN
printf 'Package: corpus-x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n' >/tmp/p/DEBIAN/control
chmod 755 /tmp/p/DEBIAN
dpkg-deb -b /tmp/p /tmp/p.deb >/dev/null 2>&1
attempt dpkg dpkg -i /tmp/p.deb && effect "package installed"
finish
