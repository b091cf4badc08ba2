"""`python -m daemon.forensics.live CONTAINER`: tells of the processes that run in a container now.

A process of its own, because a workload can hold up who reads its memory map; then the parent ends it. Every
process is read by a descriptor of its folder in /proc, so that no later one with its pid is taken for it, and
links are read, never followed. Its memory and its environment are not read.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from daemon.sensors.attribution import container_in

PROCESSES = 128
DESCRIPTORS = 128
MAPS = 256
MAPS_BYTES = 64 << 10
TEXT_BYTES = 1024
TOTAL_BYTES = 512 << 10
"""Of open files and maps together: what comes after has its process, and none of them."""


def main(container: str) -> None:
    room = Room(TOTAL_BYTES)
    found = [process for pid in _pids() if (process := _process(pid, container, room)) is not None]
    json.dump(found[:PROCESSES], sys.stdout)


class Room:
    """What is left of TOTAL_BYTES."""

    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes

    def has(self, text: str) -> bool:
        self._left_bytes -= len(json.dumps(text))
        return self._left_bytes >= 0


def _pids() -> list[int]:
    return sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())


def _process(pid: int, container: str, room: Room) -> dict[str, Any] | None:
    """None where it is of another container, or has ended."""
    try:
        with _folder(pid) as folder:
            if container_in(_read(folder, "cgroup")) == container:
                return _described(pid, folder, room)
    except OSError:
        pass
    return None


@contextmanager
def _folder(pid: int) -> Iterator[int]:
    descriptor = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _described(pid: int, folder: int, room: Room) -> dict[str, Any]:
    lines = (line.partition(b":") for line in _read(folder, "status").splitlines())
    status = {name.decode(): value.strip() for name, _, value in lines}
    found = {
        "pid": pid,
        "ppid": int(status.get("PPid", b"0")),
        "pid_inside": int(status.get("NSpid", b"0").split()[-1]),
        "uid": int(status.get("Uid", b"0 0").split()[1]),
        "state": _text(status.get("State", b"?")[:1]),
        "threads": int(status.get("Threads", b"0")),
        "exe": _link(folder, "exe") or _text(status.get("Name", b"")),
        "cwd": _link(folder, "cwd"),
        "root": _link(folder, "root"),
    }
    open_files, more_files = _open_files(folder, room)
    maps, more_maps = _maps(folder, room)
    return {**found, "open_files": open_files, "maps": maps, "cut": more_files or more_maps}


def _open_files(folder: int, room: Room) -> tuple[list[dict[str, Any]], bool]:
    """And whether there are more."""
    found: list[dict[str, Any]] = []
    try:
        descriptor = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:  # a zombie has none
        return found, False
    try:
        with os.scandir(descriptor) as entries:
            numbers = sorted(int(entry.name) for entry in islice(entries, DESCRIPTORS + 1))
        for number in numbers[:DESCRIPTORS]:
            target = _link(descriptor, str(number))
            if not room.has(target):
                return found, True
            found.append({"descriptor": number, "target": target})
        return found, len(numbers) > DESCRIPTORS
    finally:
        os.close(descriptor)


def _maps(folder: int, room: Room) -> tuple[list[str], bool]:
    """And whether there are more."""
    try:
        lines = _read(folder, "maps", MAPS_BYTES).splitlines()
    except OSError:
        return [], False
    found: list[str] = []
    for line in lines[:MAPS]:
        if not room.has(text := _text(line)):
            return found, True
        found.append(text)
    return found, len(lines) > MAPS


def _read(folder: int, name: str, limit_bytes: int = 1 << 16) -> bytes:
    """A file of proc gives out about a page at once."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    data = b""
    try:
        while len(data) < limit_bytes and (part := os.read(descriptor, limit_bytes - len(data))):
            data += part
    finally:
        os.close(descriptor)
    return data


def _link(folder: int, name: str) -> str:
    try:
        return _text(os.readlink(os.fsencode(name), dir_fd=folder))
    except OSError:
        return ""


def _text(data: bytes) -> str:
    return data[:TEXT_BYTES].decode("utf-8", "backslashreplace")


if __name__ == "__main__":
    main(sys.argv[1])
