#!/bin/bash
# setup.sh: installs what a fresh Debian or Ubuntu machine lacks: packages by apt, and a private environment in .venv.
# Safe to run again: what is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("${@:2}"); }
need dockerd docker.io iptables
need busybox busybox-static
need gcc gcc libc6-dev
need curl curl
need clang clang
need llvm-strip llvm
[ -e /usr/include/bpf/bpf_helpers.h ] || missing+=(libbpf-dev)
ldconfig -p | grep -q 'libbpf\.so\.1' || missing+=(libbpf1)
need apparmor_parser apparmor
need systemd-analyze systemd
need mmdebstrap mmdebstrap
need rsyslogd rsyslog
need docker-registry docker-registry
compgen -G '/usr/lib/*/rsyslog/lmnsd_gtls.so' >/dev/null || missing+=(rsyslog-gnutls)
[ -e /usr/lib/x86_64-linux-gnu/libc.a ] || [ -e /usr/lib/aarch64-linux-gnu/libc.a ] || missing+=(libc6-dev)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
# Of these packages only one program each is needed, with the files that it reads; their services must not start.
need_program() {
    local package=$1 program=$2 files=${3:-} download
    command -v "$program" >/dev/null 2>&1 && [ -e "/$files" ] && return
    echo "installing: $program"
    apt-get update -qq
    download=$(mktemp -d)
    (cd "$download" && apt-get -o APT::Sandbox::User=root download -qq "$package")
    dpkg-deb --fsys-tarfile "$download"/*.deb | tar -x -C /usr/local --strip-components=2 "./usr/bin/$program"
    [ -z "$files" ] || dpkg-deb --fsys-tarfile "$download"/*.deb | tar -x -C / "./$files"
    rm -r "$download"
}
need_program prometheus promtool
need_program prometheus-alertmanager prometheus-alertmanager usr/share/prometheus/alertmanager
# With the libraries that it lacks here. Unpacked and not installed: installed, it would put rsyslog out.
if [ ! -e .venv/receivers/usr/sbin/syslog-ng ]; then
    echo "unpacking: syslog-ng"
    apt-get update -qq
    download=$(mktemp -d)
    lacking=$(apt-get install --simulate -qq --no-install-recommends syslog-ng-core | sed -n 's/^Inst \([^ ]*\).*/\1/p')
    (cd "$download" && printf '%s\n' syslog-ng-core $lacking | sort -u | xargs apt-get -o APT::Sandbox::User=root download -qq)
    mkdir -p .venv/receivers
    for package in "$download"/*.deb; do dpkg -x "$package" .venv/receivers; done
    rm -r "$download"
fi

wanted=$(sha256sum pyproject.toml hatch_build.py | sha256sum)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    echo "making .venv"
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -e '.[dev,trivy]' hatchling
    echo "$wanted" >.venv/installed
fi
.venv/bin/python -m daemon.sandbox.init >/dev/null
.venv/bin/python -m daemon.sensors.bpf >/dev/null
