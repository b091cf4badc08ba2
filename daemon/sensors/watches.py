"""Which files of the host are watched, and why."""

from __future__ import annotations

import pwd
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HOMES_LIMIT = 256
_ETC = (
    *("ld.so.preload", "passwd", "shadow", "sudoers", "sudoers.d"),
    *("crontab", "cron.d", "cron.hourly", "cron.daily", "cron.weekly", "cron.monthly"),
)


@dataclass(frozen=True, slots=True)
class Watch:
    """A file or a folder, which need not be there yet. Of a folder, what lies directly in it is watched."""

    path: Path
    role: str
    """As HostFileChanged has it."""
    sandbox: str = ""
    """Whose canary it is."""
    opens: bool = False
    """Opening it is a change as well."""
    appends: bool = False
    """It grows in the ordinary course of things: only what else happens to it is a change."""
    below: bool = False
    """The folders in it are watched as well, and theirs."""


def canary(path: Path, sandbox: str = "") -> Watch:
    """A file that nobody has a reason to open."""
    return Watch(path, "canary", sandbox, opens=True)


def segment(path: Path) -> Watch:
    """A file of the audit log."""
    return Watch(path, "audit", appends=True)


def own_files(
    *,
    config: Path,
    profile_dirs: Iterable[Path],
    audit_log: Iterable[Path],
    socket: Path,
    engine_socket: Path,
) -> Iterator[Watch]:
    """What the daemon's judgement rests on, and by which others reach it."""
    yield Watch(config, "config")
    yield from (Watch(folder, "profiles", below=True) for folder in profile_dirs)
    yield from map(segment, audit_log)
    yield Watch(socket, "socket")
    yield Watch(engine_socket, "engine")


def persistence_files(homes: Iterable[Path] | None = None) -> Iterator[Watch]:
    """Where one who got out settles: T1574.006, T1053.003, T1543.002, T1136.001, T1548.003, T1098.004."""
    yield from (Watch(Path("/etc", name), "persistence") for name in _ETC)
    yield Watch(Path("/etc/systemd/system"), "persistence", below=True)
    yield Watch(Path("/var/spool/cron"), "persistence", below=True)
    for home in sorted(set(_homes() if homes is None else homes))[:HOMES_LIMIT]:
        yield Watch(home / ".ssh" / "authorized_keys", "persistence")


def _homes() -> Iterator[Path]:
    """Also of users who cannot log in: with a key in place they often can."""
    homes = (Path(user.pw_dir) for user in pwd.getpwall())
    return (home for home in homes if home.is_absolute() and home.is_dir())
