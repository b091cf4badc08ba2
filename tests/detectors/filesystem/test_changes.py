"""What a workload leaves behind in its root directory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import Event, File, FileKind
from detectors.filesystem.persistence import Persistence
from detectors.filesystem.setuid_file import SetuidFile
from detectors.filesystem.system_programs import SystemPrograms
from tests.detectors.making import EACCES, ENOENT, EPERM, EROFS, STRICT, chmodded, linked, on, opened, told


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/etc/cron.d/x",
            "/etc/crontab",
            "/var/spool/cron/crontabs/root",
            "/etc/profile.d/x.sh",
            "/etc/profile",
        ),
        *("/etc/bash.bashrc", "/root/.bashrc", "/home/ann/.profile", "/home/ann/.zshrc", "/etc/passwd"),
        *(
            "/etc/shadow",
            "/etc/sudoers",
            "/etc/sudoers.d/x",
            "/etc/pam.d/sshd",
            "/etc/systemd/system/x.service",
        ),
        *("/usr/lib/systemd/system/x.timer", "/home/ann/.config/systemd/user/x.service", "/etc/init.d/x"),
        *(
            "/etc/rc.local",
            "/root/.ssh/authorized_keys",
            "/tmp/h/.ssh/authorized_keys",
            "/etc/ssh/sshd_config",
        ),
        *("/etc/ld.so.conf.d/x.conf", "/etc/udev/rules.d/x.rules", "/etc/apt/apt.conf.d/99x", "/etc/group"),
    ],
)
def test_a_file_that_is_run_or_asked_later(path: str) -> None:
    found = [("persistence-file", "medium")]
    assert told(Persistence(), opened(path, write=True)) == found
    assert told(Persistence(), opened(path, write=True, result=EROFS)) == found
    assert told(Persistence(), linked("/tmp/x", path)) == found
    assert told(Persistence(), linked("/tmp/x", path, symbolic=False)) == found
    assert told(Persistence(), opened(path)) == []
    assert told(Persistence(), opened(path, write=True, result=ENOENT)) == []


def test_a_library_for_every_program() -> None:
    for event in (
        opened("/etc/ld.so.preload", write=True),
        opened("/proc/self/root/etc/ld.so.preload", write=True, result=EACCES),
        linked("/tmp/x.so", "/etc/ld.so.preload"),
    ):
        assert told(Persistence(), event) == [("preload-file", "high")]


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/hosts", "/etc/resolv.conf", "/etc/ld.so.cache", "/etc/mtab", "/etc/app.conf"),
        *("/root/.bash_history", "/root/.cache/x", "/root/.config/app", "/root/.gitconfig", "/root/.viminfo"),
        *("/tmp/etc/app", "/srv/passwd", "/usr/lib/python3/dist-packages/x.py", "/home/ann/bash"),
    ],
)
def test_files_that_programs_write_day_by_day(path: str) -> None:
    assert told(Persistence(), opened(path, write=True)) == []


@pytest.mark.parametrize(
    "event",
    [
        chmodded("/tmp/x", 0o4755),
        chmodded("/tmp/x", 0o6711),
        chmodded("/tmp/x", 0o4644),
        replace(chmodded("/x", 0o2755), file=File(path="/x", kind=FileKind.REGULAR)),
        chmodded("/tmp/x", 0o4755, result=EPERM),
        opened("/x", write=True, create=True, file=File(path="/x", mode=0o4755)),
    ],
)
def test_a_file_with_its_owners_rights(event: Event) -> None:
    assert told(SetuidFile(), event) == [("setuid-file", "medium")]


def test_a_file_with_its_owners_rights_that_is_not_there() -> None:
    assert told(SetuidFile(), chmodded("/tmp/x", 0o4755, result=ENOENT)) == [("setuid-file", "low")]


@pytest.mark.parametrize(
    "event",
    [
        chmodded("/tmp/x", 0o755),
        chmodded("/tmp", 0o1777),
        chmodded("/srv/shared", 0o2775),
        replace(chmodded("/srv/shared", 0o2775), file=File(path="/srv", kind=FileKind.DIRECTORY)),
        replace(chmodded("/x", 0o2644), file=File(path="/x", kind=FileKind.REGULAR)),
        opened("/usr/bin/su", file=File(path="/usr/bin/su", mode=0o4755)),
        opened("/x", write=True, file=File(path="/x", mode=0o4755)),
    ],
)
def test_other_modes(event: Event) -> None:
    assert told(SetuidFile(), event) == []


@pytest.mark.parametrize(
    "path",
    [
        *("/bin/ls", "/usr/bin/ls", "/sbin/init", "/usr/local/bin/x", "/usr/sbin/sshd"),
        *("/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/libx.so", "/lib64/ld-linux-x86-64.so.2"),
    ],
)
def test_a_program_of_the_system(path: str) -> None:
    assert told(SystemPrograms(), opened(path, write=True)) == [("system-program-write", "low")]
    assert told(SystemPrograms(), opened(path, write=True), sandbox=STRICT) == [
        ("system-program-write", "medium")
    ]
    assert told(SystemPrograms(), opened(path, write=True, result=EROFS), sandbox=STRICT) == [
        ("system-program-write", "low")
    ]
    assert told(SystemPrograms(), opened(path)) == []


@pytest.mark.parametrize(
    "path",
    ["/tmp/bin/x", "/usr/lib/python3/__pycache__/x.pyc", "/usr/share/x", "/opt/bin/x", "/usr/bin/x/y"],
)
def test_no_program_of_the_system(path: str) -> None:
    assert told(SystemPrograms(), opened(path, write=True), on("overlay", path, write=True)) == []
