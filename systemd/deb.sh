#!/bin/bash
# deb.sh: packs what install.sh puts in place as dist/container-kit_VERSION_ARCHITECTURE.deb, and prints its name.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

: "${INTERPRETER:=/usr/bin/python3}"
root=build/deb
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' daemon/__init__.py)
architecture=$(dpkg --print-architecture)
package=dist/container-kit_${version}_$architecture.deb
# The environment belongs to the interpreter that it was made with.
read -r python next < <("$INTERPRETER" -c 'import sys; n = sys.version_info[1]; print(f"3.{n} 3.{n + 1}")')

rm -rf "$root"
mkdir -p dist
DESTDIR=$PWD/$root PREFIX=/usr INTERPRETER=$INTERPRETER systemd/install.sh
install -D -m 755 -t "$root/DEBIAN" systemd/debian/{postinst,prerm,postrm}
(cd "$root" && find etc -type f -printf '/%p\n' >DEBIAN/conffiles)
(cd "$root" && find usr opt -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
cat >"$root/DEBIAN/control" <<END
Package: container-kit
Version: $version
Architecture: $architecture
Maintainer: Container Kit maintainers <maintainers@container-kit.invalid>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f 1)
Depends: python3 (>= $python), python3 (<< $next), libc6 (>= 2.28), libbpf1, docker.io (>= 20.10) | docker-ce (>= 5:20.10), systemd
Recommends: apparmor
Section: admin
Priority: optional
Description: hardened Docker sandboxes for code that you do not trust
 A daemon that judges each request, launches it in a hardened sandbox, proves from outside that the sandbox is
 what was asked for before its first instruction, enforces its limits and keeps an audit log; and its client.
END
dpkg-deb --build --root-owner-group -Zzstd "$root" "$package" >/dev/null
echo "$package"
