"""Hypothesis strategies that build any event there is, from the fields of its class alone.

A new kind, or a new field of one, is covered without a change here as long as its types are.
"""

from __future__ import annotations

import dataclasses
import errno
import types
import typing
from enum import Enum, IntFlag
from typing import Any

from hypothesis import strategies as st

from daemon import events
from daemon.events import Event
from daemon.expectation import Expectation, ExpectedMount
from detectors import Detector

Strategies = dict[str, st.SearchStrategy[Any]]

KINDS = tuple(
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
)

PATHS = (
    *(
        "/",
        "",
        ".",
        "..",
        "relative/x",
        "/proc/1/ns/mnt",
        "/proc/self/mountinfo",
        "/proc/version",
        "/.dockerenv",
    ),
    *("/dev/shm/x", "/tmp/x", "/memfd:x (deleted)", "/etc/shadow", "/proc/sys/kernel/core_pattern"),
    *("/var/lib/dpkg/status", "/usr/bin/apt-get", "/lib64/ld-linux-x86-64.so.2", "/proc/1/root/etc/passwd"),
    *(
        "\0",
        "a\0b",
        "\udcff\ud800",
        "/" + "\udc80" * 300,
        "/" * 5000,
        "/" + "x" * 1_000_000,
        "\N{SNOWMAN}\r\n\x1b[0m",
    ),
)
WORDS = (
    *("sh", "-c", "base64", "-d", "stratum+tcp://pool:3333", "--donate-level=1", "[kworker/0:1]", "busybox"),
    *(
        "LD_PRELOAD=/tmp/x.so",
        "LD_AUDIT=",
        "LD_PRELOAD",
        "=",
        "pids",
        "memory",
        "cpu",
        "workspace",
        "169.254.169.254",
    ),
    *(
        "127.0.0.1",
        "::1",
        "fe80::1%eth0",
        "pool.minexmr.com.",
        "x" * 63 + ".example",
        "overlay",
        "proc",
        "nsfs",
    ),
)
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    16,
    53,
    3333,
    4444,
    0o4755,
    0x1000_0000,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
    -(2**63),
)
RESULTS = (
    0,
    3,
    *(
        -getattr(errno, name)
        for name in (
            "EPERM",
            "EACCES",
            "EROFS",
            "ENOSYS",
            "EAGAIN",
            "ENOSPC",
            "EMFILE",
            "ENFILE",
            "EINPROGRESS",
            "ENOENT",
        )
    ),
)
TEXTS = st.sampled_from(PATHS + WORDS) | st.text(st.characters(), max_size=40)
INTEGERS = st.sampled_from(NUMBERS) | st.integers(-(2**63), 2**64)
OWN_WORDS = (
    "overlay",
    "tmpfs",
    "proc",
    "sysfs",
    "nsfs",
    "fuse.x",
    "0x9fa0",
    "ring full",
    "openat",
    "nr:999",
    "",
)
"""Fields that a sensor fills from tables of its own: no program can make them long or strange."""
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ("syscall", "filesystem", "sensor", "reason", "role", "change"), st.sampled_from(OWN_WORDS)
    ),
    "time_ns": st.integers(-1, 10**12),
    "result": st.sampled_from(RESULTS) | INTEGERS,
    "sandbox": st.sampled_from(("", "a", "b")),
    "pid": st.integers(-1, 5),
    "ppid": st.integers(-1, 5),
}


def of_type(hint: Any, by_name: Strategies | None = None) -> st.SearchStrategy[Any]:
    """By annotation. Of containers a few items: what a detector does with many is another test's subject."""
    plain: dict[Any, st.SearchStrategy[Any]] = {int: INTEGERS, str: TEXTS, bool: st.booleans()}
    if hint in plain:
        return plain[hint]
    if isinstance(hint, type) and issubclass(hint, IntFlag):
        return st.integers(0, sum(hint)).map(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if dataclasses.is_dataclass(hint):
        return built(typing.cast("type[Any]", hint), by_name)
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return st.one_of(*(st.none() if part is type(None) else of_type(part, by_name) for part in inside))
    if origin is dict:
        return st.dictionaries(of_type(inside[0], by_name), of_type(inside[1], by_name), max_size=3)
    if origin is frozenset:
        return st.frozensets(of_type(inside[0], by_name), max_size=4)
    if origin is tuple:
        return st.lists(of_type(inside[0], by_name), max_size=6).map(tuple)
    raise NotImplementedError(f"no strategy for {hint}: add one")


def built(kind: type[Any], by_name: Strategies | None = None) -> st.SearchStrategy[Any]:
    """`by_name` goes before BY_NAME, and on to the fields of what it holds."""
    hints = typing.get_type_hints(kind)
    named = {**BY_NAME, **(by_name or {})}
    fields = [field.name for field in dataclasses.fields(kind)]
    return st.builds(
        kind, **{name: named[name] if name in named else of_type(hints[name], by_name) for name in fields}
    )


def wanted_by(detector: Detector) -> st.SearchStrategy[Event]:
    """Any event of a kind that the detector asks for, mostly with the calls and names that it asks for."""
    kinds = [kind for kind in KINDS if issubclass(kind, detector.events)]
    syscalls = st.sampled_from([*OWN_WORDS, *sorted(detector.syscalls)])
    names = [f"/tmp/{name}" for name in sorted(detector.names)]
    paths = st.sampled_from([*PATHS, *names]) | TEXTS
    return st.one_of(*(built(kind, {"syscall": syscalls, "path": paths}) for kind in kinds))


EXPECTATIONS: st.SearchStrategy[Expectation] = st.builds(
    Expectation,
    container_id=st.just("a"),
    sandbox_id=st.none() | st.just("s"),
    uid=INTEGERS,
    capabilities=st.integers(0, 2**64 - 1),
    privileged=st.booleans(),
    no_new_privileges=st.booleans(),
    read_only_root=st.booleans(),
    mounts=st.lists(
        built(ExpectedMount, {"target": st.sampled_from(("/", "/tmp", "/dev/shm", ""))}), max_size=3
    ).map(tuple),
    networking=st.booleans(),
    fresh_exec=st.booleans(),
    exec_allowed=st.booleans(),
)
