"""Links of BPF programs, and how any root process of the host can detach them (bpf(2))."""

from __future__ import annotations

import ctypes
import os
import re
import struct
from contextlib import suppress
from pathlib import Path

_BPF = 321  # of x86_64
_LINK_BY_ID, _DETACH = 30, 34
_libc = ctypes.CDLL(None, use_errno=True)


def links_of_cgroups() -> set[int]:
    """The ids of those that this process holds: tests beside this one have theirs."""
    found = set()
    for descriptor in Path("/proc/self/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            link = re.search(r"^link_type:\tcgroup\nlink_id:\t(\d+)$", descriptor.read_text(), re.MULTILINE)
            found |= {int(link[1])} if link else set()
    return found


def detach(link: int) -> None:
    descriptor = _bpf(_LINK_BY_ID, link)
    try:
        _bpf(_DETACH, descriptor)
    finally:
        os.close(descriptor)


def _bpf(command: int, of: int) -> int:
    attributes = ctypes.create_string_buffer(struct.pack("=I", of), 128)
    result: int = _libc.syscall(_BPF, command, attributes, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
