"""libbpf by ctypes, as far as the sensor needs it: no compiler and no other package at run time.

Calls can take a second (verification): load in a thread. Errors are OSError with what libbpf said.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections import deque
from collections.abc import Iterator
from ctypes import CFUNCTYPE, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

LIBRARY = "libbpf.so.1"
LOG_LINES = 40
_LOG_BYTES = 1 << 16
_WARNING = 0
_LINK_INFO = struct.Struct(
    "=IIIIQ"
)  # struct bpf_link_info: type, id, program, -, of a cgroup link its number
_LINK_OF_CGROUP = 3
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "bpf_object__open_file": (c_void_p, [c_char_p, c_void_p]),
    "bpf_object__load": (c_int, [c_void_p]),
    "bpf_object__close": (None, [c_void_p]),
    "bpf_object__next_program": (c_void_p, [c_void_p, c_void_p]),
    "bpf_object__next_map": (c_void_p, [c_void_p, c_void_p]),
    "bpf_program__name": (c_char_p, [c_void_p]),
    "bpf_program__set_autoload": (c_int, [c_void_p, c_bool]),
    "bpf_program__attach": (c_void_p, [c_void_p]),
    "bpf_program__attach_cgroup": (c_void_p, [c_void_p, c_int]),
    "bpf_program__fd": (c_int, [c_void_p]),
    "bpf_link__destroy": (c_int, [c_void_p]),
    "bpf_link__fd": (c_int, [c_void_p]),
    "bpf_iter_create": (c_int, [c_int]),
    "bpf_map__name": (c_char_p, [c_void_p]),
    "bpf_map__fd": (c_int, [c_void_p]),
    "bpf_map__key_size": (c_uint32, [c_void_p]),
    "bpf_map__value_size": (c_uint32, [c_void_p]),
    "bpf_map__max_entries": (c_uint32, [c_void_p]),
    "bpf_map__set_max_entries": (c_int, [c_void_p, c_uint32]),
    "bpf_map__reuse_fd": (c_int, [c_void_p, c_int]),
    "bpf_map__initial_value": (c_void_p, [c_void_p, ctypes.POINTER(c_size_t)]),
    "bpf_map_update_elem": (c_int, [c_int, c_char_p, c_char_p, c_uint64]),
    "bpf_map_lookup_elem": (c_int, [c_int, c_char_p, c_char_p]),
    "bpf_map_delete_elem": (c_int, [c_int, c_char_p]),
    "bpf_map_get_next_key": (c_int, [c_int, c_char_p, c_char_p]),
    "bpf_obj_get_info_by_fd": (c_int, [c_int, c_void_p, ctypes.POINTER(c_uint32)]),
    "libbpf_num_possible_cpus": (c_int, []),
    "libbpf_set_print": (c_void_p, [c_void_p]),
}
_Print = CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)


class Library:
    """The shared library and what it said last. Raises OSError where it is not installed."""

    def __init__(self) -> None:
        self.c = ctypes.CDLL(LIBRARY, use_errno=True)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self.c, name)
            function.restype, function.argtypes = result, arguments
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._vsnprintf = ctypes.CDLL(None).vsnprintf
        self._vsnprintf.argtypes = [c_char_p, c_size_t, c_char_p, c_void_p]
        self._print = _Print(self._said)  # kept: the library calls it as long as the process lives
        self.c.libbpf_set_print(ctypes.cast(self._print, c_void_p))

    def _said(self, level: int, form: bytes, arguments: int) -> int:
        if level <= _WARNING:
            text = ctypes.create_string_buffer(_LOG_BYTES)
            self._vsnprintf(text, _LOG_BYTES, form, arguments)
            self.log.extend(text.value.decode(errors="replace").splitlines())
        return 0

    def error(self, code: int, what: str) -> OSError:
        said = "\n".join(self.log)
        return OSError(code, f"{what}: {os.strerror(code)}" + (f"\n{said}" if said else ""))


@cache
def library() -> Library:
    return Library()


class Map:
    """Keys and values are bytes of the exact sizes; per-CPU values come one after the other."""

    def __init__(self, library: Library, pointer: int) -> None:
        self._c, self._library = library.c, library
        self.name: str = self._c.bpf_map__name(pointer).decode()
        self._pointer = pointer

    @property
    def fd(self) -> int:
        return int(self._c.bpf_map__fd(self._pointer))

    @property
    def max_entries(self) -> int:
        return int(self._c.bpf_map__max_entries(self._pointer))

    @property
    def key_bytes(self) -> int:
        return int(self._c.bpf_map__key_size(self._pointer))

    @property
    def value_bytes(self) -> int:
        return int(self._c.bpf_map__value_size(self._pointer))

    def resize(self, entries: int) -> None:
        """Before loading only."""
        self._done(self._c.bpf_map__set_max_entries(self._pointer, entries), "resize")

    def share(self, other: Map) -> None:
        """Be the same map as that of an object that is loaded. Before loading only."""
        self._done(self._c.bpf_map__reuse_fd(self._pointer, other.fd), "share")

    def preset(self, data: bytes) -> None:
        """The initial content of a data section. Before loading only."""
        size = c_size_t()
        address = self._c.bpf_map__initial_value(self._pointer, ctypes.byref(size))
        if not address or len(data) > size.value:
            raise ValueError(f"{self.name} holds {size.value} bytes, not {len(data)}")
        ctypes.memmove(address, data, len(data))

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._check(key, value)
        self._done(self._c.bpf_map_update_elem(self.fd, key, value, 0), "update")

    def get(self, key: bytes, values: int = 1) -> bytes | None:
        self._check(key)
        found = ctypes.create_string_buffer(
            (self.value_bytes + 7 & ~7 if values > 1 else self.value_bytes) * values
        )
        return None if self._c.bpf_map_lookup_elem(self.fd, key, found) else found.raw

    def discard(self, key: bytes) -> None:
        self._check(key)
        self._c.bpf_map_delete_elem(self.fd, key)

    def __iter__(self) -> Iterator[bytes]:
        """Keys; those added or removed meanwhile may be missed or met."""
        last, following = None, ctypes.create_string_buffer(self.key_bytes)
        for _ in range(self.max_entries):
            if self._c.bpf_map_get_next_key(self.fd, last, following):
                return
            last = following.raw
            yield last

    def _check(self, key: bytes, value: bytes | None = None) -> None:
        if len(key) != self.key_bytes or (value is not None and len(value) != self.value_bytes):
            raise ValueError(f"{self.name} maps {self.key_bytes} to {self.value_bytes} bytes")

    def _done(self, code: int, what: str) -> None:
        if code:
            raise self._library.error(-code if code < 0 else ctypes.get_errno(), f"{self.name}: {what}")


class Object:
    """A built object: opened, then loaded, then attached program by program. Closing detaches all."""

    def __init__(self, path: Path) -> None:
        self._library = library()
        self._c = self._library.c
        self._library.log.clear()
        ctypes.set_errno(0)
        self._object: int | None = self._c.bpf_object__open_file(os.fsencode(path), None)
        if not self._object:
            raise self._library.error(ctypes.get_errno(), f"open {path.name}")
        self._links: dict[str, int] = {}
        self._of_cgroups: set[str] = set()
        self.programs = {
            self._c.bpf_program__name(p).decode(): p for p in self._all("bpf_object__next_program")
        }
        found = (Map(self._library, pointer) for pointer in self._all("bpf_object__next_map"))
        self.maps = {found.name.rpartition(".")[2]: found for found in found}

    def _all(self, following: str) -> Iterator[int]:
        pointer = None
        while pointer := getattr(self._c, following)(self._object, pointer):
            yield pointer

    def skip(self, program: str) -> None:
        """Do not load it."""
        self._c.bpf_program__set_autoload(self.programs[program], False)

    def load(self) -> None:
        if code := self._c.bpf_object__load(self._object):
            raise self._library.error(-code, "load")

    def attach(self, program: str, cgroup: int | None = None) -> None:
        """To what its section names; programs of a cgroup, to that directory's descriptor."""
        ctypes.set_errno(0)
        pointer = self.programs[program]
        link = (
            self._c.bpf_program__attach(pointer)
            if cgroup is None
            else self._c.bpf_program__attach_cgroup(pointer, cgroup)
        )
        if not link:
            raise self._library.error(ctypes.get_errno(), f"attach {program}")
        self._links[program] = link
        if cgroup is not None:
            self._of_cgroups.add(program)

    def fill_slot(self, array: str, slot: int, program: str) -> None:
        """Of a program array: what a tail call to that slot goes on with."""
        fd = self._c.bpf_program__fd(self.programs[program])
        self.maps[array][slot.to_bytes(4, "little")] = fd.to_bytes(4, "little")

    def detach(self, program: str) -> None:
        if link := self._links.pop(program, None):
            self._c.bpf_link__destroy(link)

    @property
    def detached(self) -> list[str]:
        """Programs that were attached and are not any more, though nobody here detached them.

        Any root process can detach a link of a cgroup, which then stands for none. Those of tracing and of
        LSM have no such operation (kernel/bpf/syscall.c, link_detach): they go with their descriptors.
        """
        of_cgroups = self._of_cgroups & self._links.keys()
        return sorted(program for program in of_cgroups if not self._holds(self._links[program]))

    def _holds(self, link: int) -> bool:
        info, size = ctypes.create_string_buffer(256), c_uint32(256)
        if self._c.bpf_obj_get_info_by_fd(self._c.bpf_link__fd(link), info, ctypes.byref(size)):
            return False
        kind, _, program, _, cgroup = _LINK_INFO.unpack_from(info)
        return bool(program and cgroup) and kind == _LINK_OF_CGROUP

    def iterate(self, program: str) -> None:
        """Runs an iterator once over all it goes over."""
        self.attach(program)
        try:
            fd = self._c.bpf_iter_create(self._c.bpf_link__fd(self._links[program]))
            if fd < 0:
                raise self._library.error(-fd, f"iterate {program}")
            with os.fdopen(fd, "rb", buffering=0) as iterator:
                while iterator.read(4096):
                    pass
        finally:
            self.detach(program)

    def close(self) -> None:
        for program in list(self._links):
            self.detach(program)
        if self._object:
            self._c.bpf_object__close(self._object)
            self._object = None


def possible_cpus() -> int:
    return int(library().c.libbpf_num_possible_cpus())
