#!/bin/bash
# install.sh [uninstall]: puts the program below $DESTDIR, or takes it away again, but for settings and state.
# Both may be run again. With DESTDIR nothing is done to the running system: that is how packages are made.
#
#   /opt/container-kit          the program, in a Python environment of its own
#   $PREFIX/bin, $PREFIX/sbin   container-kit and container-kitd, which lead there
#   $PREFIX/share               shell completion, licence, drop-ins of the unit for what it does not allow by itself
#   /usr/lib, /etc/apparmor.d   units, group, folders, AppArmor profile
#   /etc/container-kit          the settings: written once, then yours
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

: "${DESTDIR:=}" "${PREFIX:=/usr/local}" "${INTERPRETER:=/usr/bin/python3}"
program=/opt/container-kit
share=$DESTDIR$PREFIX/share
zsh=$share/zsh/site-functions
[ "$PREFIX" != /usr ] || zsh=$share/zsh/vendor-completions # where Debian's zsh looks below /usr

main() {
    case ${1:-install} in
        install)
            make_program
            place_files
            [ -n "$DESTDIR" ] || sh systemd/debian/postinst configure
            ;;
        uninstall)
            [ -n "$DESTDIR" ] || sh systemd/debian/prerm remove
            remove_files
            [ -n "$DESTDIR" ] || sh systemd/debian/postrm remove
            ;;
        *) fail "usage: install.sh [uninstall]" ;;
    esac
}

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

# Made beside the old one, then put in its place: a build that fails changes nothing.
make_program() {
    "$INTERPRETER" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$INTERPRETER is not Python 3.11 or newer: name one by INTERPRETER=..."
    mkdir -p build "$DESTDIR${program%/*}"
    wheel=$(mktemp -d build/wheel.XXXXXX)
    new=$(mktemp -d "$DESTDIR$program.XXXXXX")
    trap 'rm -rf "$wheel" "$new"' EXIT
    chmod 755 "$new"
    .venv/bin/python -m build --wheel --no-isolation --outdir "$wheel" . >/dev/null
    "$INTERPRETER" -m venv --without-pip "$new" # nothing is ever added to it
    .venv/bin/pip --python "$new/bin/python3" install --quiet --no-compile "$wheel"/*.whl
    settle "$new"
    rm -rf "$DESTDIR$program"
    mv "$new" "$DESTDIR$program"
}

# As it will be called: from its own place, whatever PYTHONPATH says, with no trace of where it was built.
settle() {
    find "$1/bin" -type f ! -name container-kit ! -name container-kitd -delete
    find "$1/lib" -name direct_url.json -delete
    sed -i "1s|.*|#!$program/bin/python3 -I|" "$1/bin/container-kit" "$1/bin/container-kitd"
    sed -i '/^command/d' "$1/pyvenv.cfg"
    "$1/bin/python3" -m compileall -q -s "$1" -p "$program" "$1/lib" # the service cannot write there
}

place_files() {
    system_files | while read -r source target; do install -D -m 644 "$source" "$target"; done
    install -d "$DESTDIR$PREFIX/bin" "$DESTDIR$PREFIX/sbin" "$DESTDIR/etc/container-kit/profiles"
    ln -sfn "$program/bin/container-kit" "$DESTDIR$PREFIX/bin/container-kit"
    ln -sfn "$program/bin/container-kitd" "$DESTDIR$PREFIX/sbin/container-kitd"
    completions | while read -r shell target; do
        install -d "$(dirname "$target")"
        "$DESTDIR$program/bin/python3" -I "$DESTDIR$program/bin/container-kit" completion "$shell" >"$target"
    done
    [ -e "$DESTDIR/etc/container-kit/config.toml" ] ||
        install -m 644 systemd/config.toml "$DESTDIR/etc/container-kit/config.toml"
}

remove_files() {
    { system_files && completions; } | while read -r _ target; do rm -f "$target"; done
    rm -f "$DESTDIR$PREFIX/bin/container-kit" "$DESTDIR$PREFIX/sbin/container-kitd"
    rm -rf "$DESTDIR$program" "$share/doc/container-kit" "$share/container-kit"
}

system_files() {
    cat <<END
systemd/container-kitd.service $DESTDIR/usr/lib/systemd/system/container-kitd.service
systemd/container-kitd.socket $DESTDIR/usr/lib/systemd/system/container-kitd.socket
systemd/sysusers.d/container-kit.conf $DESTDIR/usr/lib/sysusers.d/container-kit.conf
systemd/tmpfiles.d/container-kit.conf $DESTDIR/usr/lib/tmpfiles.d/container-kit.conf
profiles/apparmor/container-kit-sandbox $DESTDIR/etc/apparmor.d/container-kit-sandbox
systemd/drop-ins/alert-commands.conf $share/container-kit/drop-ins/alert-commands.conf
systemd/drop-ins/guarded-files.conf $share/container-kit/drop-ins/guarded-files.conf
LICENSE $share/doc/container-kit/copyright
END
}

completions() {
    cat <<END
bash $share/bash-completion/completions/container-kit
zsh $zsh/_container-kit
fish $share/fish/vendor_completions.d/container-kit.fish
END
}

main "$@"
