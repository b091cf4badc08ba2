"""Links of BPF programs as any root process of the host can find and detach them (bpf(2))."""

from __future__ import annotations

import ctypes
import os
import struct

_BPF = 321  # of x86_64
_INFO, _LINK_BY_ID, _NEXT_LINK, _DETACH = 15, 30, 31, 34
_OF_CGROUP = 3
_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = _libc.syscall(_BPF, command, buffer, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result, buffer.raw


def _opened(link: int) -> int:
    return _bpf(_LINK_BY_ID, struct.pack("=I", link))[0]


def _kind(descriptor: int) -> int:
    info = ctypes.create_string_buffer(128)
    _bpf(_INFO, struct.pack("=IIQ", descriptor, 128, ctypes.addressof(info)))
    return int.from_bytes(info.raw[:4], "little")


def links_of_cgroups() -> set[int]:
    found, link = set(), 0
    while True:
        try:
            _, answer = _bpf(_NEXT_LINK, struct.pack("=I", link))
        except FileNotFoundError:
            return found
        link = struct.unpack_from("=II", answer)[1]
        try:
            descriptor = _opened(link)
        except OSError:
            continue
        if _kind(descriptor) == _OF_CGROUP:
            found.add(link)
        os.close(descriptor)


def detach(link: int) -> None:
    descriptor = _opened(link)
    try:
        _bpf(_DETACH, struct.pack("=I", descriptor))
    finally:
        os.close(descriptor)
