"""The host's own settings that a breakout would change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# core(5), proc(5), cgroups(7). Where one names a program, the kernel runs it as root, in no sandbox.
SETTINGS = (
    Path("/proc/sys/kernel/core_pattern"),
    Path("/proc/sys/kernel/hostname"),
    Path("/proc/sys/kernel/modprobe"),
    Path("/proc/sys/vm/overcommit_memory"),
    Path("/sys/kernel/uevent_helper"),
    *sorted(Path("/sys/fs/cgroup").glob("*/release_agent")),
)


def read(settings: tuple[Path, ...]) -> dict[Path, str]:
    """Those that this kernel has."""
    found = {}
    for path in settings:
        with suppress(OSError):
            found[path] = path.read_text()
    return found


@contextmanager
def guarded(settings: tuple[Path, ...] = SETTINGS) -> Iterator[list[Path]]:
    """The list is filled when the block ends: what was changed in it. Each is put back as it was."""
    before, changed = read(settings), list[Path]()
    try:
        yield changed
    finally:
        now = read(settings)
        changed += [path for path in before if now.get(path) != before[path]]
        for path in changed:
            path.write_text(before[path].rstrip("\n") + "\n")
