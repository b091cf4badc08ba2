#!/bin/bash
# root.sh ROOT RECIPE KERNEL_PACKAGE...: run by mmdebstrap when the packages are in.
# Kernels are unpacked, not installed: nobody here needs their initrd, which takes a minute to make.
set -euo pipefail
root=$1 recipe=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for package in "$@"; do
    versioned=$(APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-cache depends "$package" |
        awk '/Depends: linux-image/ {print $2; exit}')
    (cd "$work" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq -o APT::Sandbox::User=root download "$versioned")
    dpkg-deb -x "$work/${versioned}"_*.deb "$work/$package" # not into the root: its /lib is a link
    release=$(ls "$work/$package/lib/modules")
    mkdir -p "$root/usr/lib/modules"
    mv "$work/$package/lib/modules/$release" "$root/usr/lib/modules/$release"
    mkdir "$root/boot/$package"
    mv "$work/$package/boot/vmlinuz-$release" "$root/boot/$package/vmlinuz"
    echo "$release" >"$root/boot/$package/release"
    chroot "$root" depmod "$release"
done

# Neither logins nor timers; Docker starts at its first use.
echo vm >"$root/etc/hostname"
: >"$root/etc/machine-id"
echo '/dev/vda / ext4 rw,noatime 0 0' >"$root/etc/fstab"
chroot "$root" systemctl --quiet disable docker.service containerd.service getty@tty1.service
chroot "$root" systemctl --quiet mask getty.target apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer fstrim.timer e2scrub_all.timer systemd-timesyncd.service
install -m 755 "$recipe/vm-command" "$root/usr/local/sbin/"
install -m 644 "$recipe/vm-command.service" "$recipe/vm-command.target" "$root/etc/systemd/system/"
