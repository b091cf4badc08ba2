"""The cgroup of a sandbox, read straight from its files: cgroup v1, v2, and v1 beside v2 (hybrid)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from errno import ENODEV
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, Self

_Parse = Callable[[bytes], dict[str, int]]
UNLIMITED: Final = (1 << 63) - 1  # above every limit that can be asked for, so comparing limits just works
_READ_BYTES = 1 << 16
_ESCAPED = re.compile(r"\\([0-7]{3})")
_V1_NO_LIMIT = 1 << 62  # an unset v1 limit reads as the highest count of pages, in bytes
_REQUIRED = ("memory", "pids", "cpu")
_COUNTERS = {"cpu_ns", "memory_bytes", "pids", "pids_refused", "oom_kills"}
_V1_NAME = {"memory": "memory", "pids": "pids", "cpu": "cpu", "cpuacct": "cpuacct", "io": "blkio"}
_UNIFIED = ""  # the name that /proc/<pid>/cgroup gives to the cgroup v2 hierarchy


class CgroupGone(Exception):
    """The cgroup was removed, or the process left it by exiting: what was read last is all there will be."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted tree of cgroups; `root` is the cgroup that shows at the mount point."""

    version: Literal[1, 2]
    mount_point: Path
    root: str
    controllers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Directory:
    version: Literal[1, 2]
    path: Path


@dataclass(frozen=True, slots=True)
class Usage:
    """One sample. Counters run from the cgroup's start, and include its child cgroups unless noted."""

    cpu_ns: int
    memory_bytes: int
    memory_peak_bytes: int
    """The kernel's own mark; on a kernel without memory.peak (v2 before 5.19), the highest sample."""
    pids: int
    pids_peak: int
    """The kernel's own mark; on a kernel without pids.peak, the highest sample."""
    pids_refused: int
    """fork and clone calls that failed at the limit; under cgroup v1 of this cgroup alone."""
    oom_kills: int
    """Processes killed for want of memory, the host's included; under cgroup v1 of this cgroup alone."""
    periods: int = 0
    """CPU quota periods in which this cgroup itself wanted to run; 0 without a quota."""
    throttled_periods: int = 0
    throttled_ns: int = 0
    io_read_bytes: int = 0
    """Of block devices. Under cgroup v1 some kernels count only disks that have a throttle: else 0."""
    io_write_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kernel enforces on this cgroup itself, or `UNLIMITED`. Sizes are cut to whole pages."""

    memory_bytes: int
    memory_swap_bytes: int | None
    """Memory and swap together, as Docker's MemorySwap is; None where the kernel does not count swap."""
    cpu_quota_us: int
    cpu_period_us: int
    pids: int


def parse_mountinfo(text: str) -> list[Hierarchy]:
    """The cgroup mounts of /proc/<pid>/mountinfo (proc_pid_mountinfo(5)), in the order of the file."""
    lines = (line.partition(" - ") for line in text.splitlines())
    return [_hierarchy(mount.split(), source.split()) for mount, _, source in lines if _is_cgroup(source)]


@lru_cache(maxsize=1)
def _mounted(proc: Path) -> list[Hierarchy]:
    """Here. They are mounted as the host starts, and a launch waits for what they are read for."""
    return parse_mountinfo((proc / "self" / "mountinfo").read_text(errors="surrogateescape"))


def _is_cgroup(source: str) -> bool:
    return source.startswith(("cgroup ", "cgroup2 "))


def _hierarchy(mount: list[str], source: list[str]) -> Hierarchy:
    root, mount_point = (_ESCAPED.sub(lambda code: chr(int(code[1], 8)), field) for field in mount[3:5])
    if source[0] == "cgroup2":
        return Hierarchy(2, Path(mount_point), root, frozenset())
    return Hierarchy(1, Path(mount_point), root, frozenset(source[2].split(",")))


def parse_membership(text: str) -> dict[str, str]:
    """Controller to cgroup, from /proc/<pid>/cgroup (cgroups(7)); the empty name is cgroup v2."""
    lines = (line.split(":", 2) for line in text.splitlines())
    return {name: path for _, names, path in lines for name in names.split(",")}


def find_directories(hierarchies: list[Hierarchy], membership: Mapping[str, str]) -> dict[str, Directory]:
    """Where the files of each controller are: in its v1 tree if it is bound to one, else in the v2 tree.

    Raises CgroupGone if the process has exited: cgroup v1 then shows it in the root, whose counters are the
    host's. Raises LookupError if the cgroup is below no mount.
    """
    if left := [name for name in _REQUIRED if _is_left(_path(name, membership))]:
        raise CgroupGone(f"controller {left[0]}: the process has exited, or no engine put it into a cgroup")
    found = {name: _find_directory(name, hierarchies, membership) for name in _V1_NAME}
    if absent := [name for name in _REQUIRED if found[name] is None]:
        path = _path(absent[0], membership)
        raise LookupError(
            f"controller {absent[0]}: {path} is below no mounted tree: mount /sys/fs/cgroup here"
        )
    return {name: directory for name, directory in found.items() if directory is not None}


def _path(name: str, membership: Mapping[str, str]) -> str:
    return membership.get(_V1_NAME[name], membership.get(_UNIFIED, "/"))


def _is_left(path: str) -> bool:
    return path == "/" or path.endswith(" (deleted)")


def _find_directory(
    name: str, hierarchies: list[Hierarchy], membership: Mapping[str, str]
) -> Directory | None:
    """By text: a launch waits, and paths as objects take several times as long."""
    controller, path = _V1_NAME[name], _path(name, membership)
    if path == "/" or ".." in path.split("/"):
        return None
    for tree in hierarchies:
        fits = controller in tree.controllers if controller in membership else tree.version == 2
        if fits and (path + "/").startswith(root := tree.root.rstrip("/") + "/"):
            return Directory(tree.version, tree.mount_point / path[len(root) :])
    return None


class Cgroup:
    """Open files of one cgroup: about ten descriptors, and one read each for a sample.

    Raise RLIMIT_NOFILE to match: a hundred sandboxes need more than the usual soft limit of 1024.
    """

    def __init__(self, directories: Mapping[str, Directory]) -> None:
        """Raises CgroupGone, or LookupError if the kernel lacks a counter."""
        self.directories: Final = dict(directories)
        self._memory_peak_bytes = 0
        self._pids_peak = 0
        self._closed = False
        with ExitStack() as files:
            self._sources = list(self._open(files))
            self._cpu = self._sources[_place_of_cpu_time(self._sources)]
            self._files = files.pop_all()

    @classmethod
    def of_pid(cls, pid: int, proc: Path = Path("/proc")) -> Self:
        """The cgroup that the process is in now; hold a pidfd, so that `pid` cannot be another process.

        Raises CgroupGone if the process has exited, LookupError if its limits cannot be read from here.
        """
        try:
            membership = (proc / str(pid) / "cgroup").read_text(errors="surrogateescape")
        except (FileNotFoundError, ProcessLookupError) as error:
            raise CgroupGone(f"process {pid} has exited") from error
        try:
            return cls(find_directories(_mounted(proc), parse_membership(membership)))
        except LookupError:  # mounted since
            _mounted.cache_clear()
            return cls(find_directories(_mounted(proc), parse_membership(membership)))

    def usage(self) -> Usage:
        """A sample of now. Raises CgroupGone as soon as the first controller's directory is removed.

        An engine removes them within some 10 ms of the init's death: read once more as its pidfd fires.
        """
        counters = self._sample()
        self._memory_peak_bytes = max(
            self._memory_peak_bytes, counters["memory_bytes"], counters.get("memory_peak_bytes", 0)
        )
        self._pids_peak = max(self._pids_peak, counters["pids"], counters.get("pids_peak", 0))
        counters |= {"memory_peak_bytes": self._memory_peak_bytes, "pids_peak": self._pids_peak}
        return Usage(**counters)

    def cpu_ns(self) -> int:
        """As in a sample, by one read. While it stands still no program in it has run. Raises CgroupGone."""
        descriptor, parse = self._cpu
        return parse(self._read(descriptor))["cpu_ns"]

    @property
    def shared_cpu_time(self) -> Path:
        """A file that reads the same while no program runs in it, nor in any cgroup beside it."""
        v1 = self.directories["cpu"].version == 1
        directory = self.directories["cpuacct" if v1 else "cpu"].path.parent
        return directory / ("cpuacct.usage" if v1 else "cpu.stat")

    def limits(self) -> Limits:
        """Raises CgroupGone. Limits of parent cgroups are not looked at."""
        memory_bytes, memory_swap_bytes = self._memory_limits()
        quota_us, period_us = self._cpu_limit()
        return Limits(
            memory_bytes=memory_bytes,
            memory_swap_bytes=memory_swap_bytes,
            cpu_quota_us=quota_us,
            cpu_period_us=period_us,
            pids=_limit(self._text("pids", "pids.max")),
        )

    def close(self) -> None:
        """After that it is as good as gone."""
        self._closed = True
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, files: ExitStack) -> Iterator[tuple[int, _Parse]]:
        for (name, version, file), parse in _SOURCES.items():
            directory = self.directories.get(name)
            if directory is None or directory.version != version:
                continue
            with suppress(
                FileNotFoundError
            ):  # an older kernel, or no directory any more: what is absent tells
                descriptor = os.open(f"{directory.path}/{file}", os.O_RDONLY | os.O_CLOEXEC)
                files.callback(os.close, descriptor)
                yield descriptor, parse
        if not self.directories["memory"].path.exists():
            raise CgroupGone(f"{self.directories['memory'].path} was removed")

    def _sample(self) -> dict[str, int]:
        counters: dict[str, int] = {}
        for descriptor, parse in self._sources:
            counters |= parse(self._read(descriptor))
        return counters

    def _read(self, descriptor: int) -> bytes:
        """Once closed, its number may be that of another file."""
        if self._closed:
            raise CgroupGone("its files are closed")
        return read_counters(descriptor)

    def _memory_limits(self) -> tuple[int, int | None]:
        if self.directories["memory"].version == 1:
            memory = _limit(self._text("memory", "memory.limit_in_bytes"))
            total = self._optional_text("memory", "memory.memsw.limit_in_bytes")
            return memory, None if total is None else _limit(total)
        memory = _limit(self._text("memory", "memory.max"))
        swap = self._optional_text("memory", "memory.swap.max")
        return memory, None if swap is None else min(memory + _limit(swap), UNLIMITED)

    def _cpu_limit(self) -> tuple[int, int]:
        if self.directories["cpu"].version == 1:
            quota, period = self._text("cpu", "cpu.cfs_quota_us"), self._text("cpu", "cpu.cfs_period_us")
        else:
            quota, period = self._text("cpu", "cpu.max").split()
        return _limit(quota), int(period)

    def _text(self, name: str, file: str) -> str:
        text = self._optional_text(name, file)
        if text is None:
            raise CgroupGone(f"{self.directories[name].path / file} was removed")
        return text

    def _optional_text(self, name: str, file: str) -> str | None:
        try:
            with open(f"{self.directories[name].path}/{file}", "rb", buffering=0) as opened:  # noqa: PTH123  # as above
                return opened.readall().decode().strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _gone_or(error) from error


def _place_of_cpu_time(sources: Sequence[tuple[int, _Parse]]) -> int:
    """Which of them counts it. Raises LookupError if a counter is in none of them.

    They are read for it once for each kind of host, and not at each launch.
    """
    kind = tuple(parse for _, parse in sources)
    if kind not in _complete:
        fields = [parse(read_counters(descriptor)).keys() for descriptor, parse in sources]
        if absent := _COUNTERS.difference(*fields):
            raise LookupError(f"the kernel does not count {min(absent)}: enable the controllers of cgroups")
        _complete[kind] = next(place for place, found in enumerate(fields) if "cpu_ns" in found)
    return _complete[kind]


def read_counters(descriptor: int) -> bytes:
    """The whole of an open cgroup file, as it is now. Raises CgroupGone."""
    try:
        return os.pread(descriptor, _READ_BYTES, 0)
    except OSError as error:
        raise _gone_or(error) from error


def _gone_or(error: OSError) -> Exception:
    return CgroupGone("the cgroup was removed") if error.errno == ENODEV else error


def _limit(text: str) -> int:
    value = UNLIMITED if text in ("max", "-1") else int(text)
    return value if value < _V1_NO_LIMIT else UNLIMITED


def _number(field: str) -> _Parse:
    return lambda raw: {field: int(raw)}


def _keyed(**fields: tuple[str, int]) -> _Parse:
    """Of a "key value" file: kernel's key to our field, and what one unit of the kernel is in ours."""

    def parse(raw: bytes) -> dict[str, int]:
        words = raw.decode().split()
        values = dict(zip(words[::2], words[1::2], strict=True))
        return {field: int(values[key]) * factor for key, (field, factor) in fields.items() if key in values}

    return parse


def _parse_blkio(raw: bytes) -> dict[str, int]:
    """Lines of "major:minor Read bytes", the last being "Total bytes"."""
    lines = [line.split() for line in raw.splitlines()]
    read, write = (sum(int(line[2]) for line in lines if line[1] == kind) for kind in (b"Read", b"Write"))
    return {"io_read_bytes": read, "io_write_bytes": write}


def _parse_io_stat(raw: bytes) -> dict[str, int]:
    """Lines of "major:minor rbytes=1 wbytes=2 ..."."""
    pairs = [word.partition(b"=") for word in raw.split()]
    read, write = (
        sum(int(value) for key, _, value in pairs if key == kind) for kind in (b"rbytes", b"wbytes")
    )
    return {"io_read_bytes": read, "io_write_bytes": write}


_complete: dict[tuple[_Parse, ...], int] = {}
_THROTTLING = {"nr_periods": ("periods", 1), "nr_throttled": ("throttled_periods", 1)}
_SOURCES: Final[dict[tuple[str, int, str], _Parse]] = {
    ("cpuacct", 1, "cpuacct.usage"): _number("cpu_ns"),
    ("cpu", 1, "cpu.stat"): _keyed(**_THROTTLING, throttled_time=("throttled_ns", 1)),
    ("memory", 1, "memory.usage_in_bytes"): _number("memory_bytes"),
    ("memory", 1, "memory.max_usage_in_bytes"): _number("memory_peak_bytes"),
    ("memory", 1, "memory.oom_control"): _keyed(oom_kill=("oom_kills", 1)),
    ("io", 1, "blkio.throttle.io_service_bytes_recursive"): _parse_blkio,
    ("cpu", 2, "cpu.stat"): _keyed(
        **_THROTTLING, usage_usec=("cpu_ns", 1000), throttled_usec=("throttled_ns", 1000)
    ),
    ("memory", 2, "memory.current"): _number("memory_bytes"),
    ("memory", 2, "memory.peak"): _number("memory_peak_bytes"),
    ("memory", 2, "memory.events"): _keyed(oom_kill=("oom_kills", 1)),
    ("io", 2, "io.stat"): _parse_io_stat,
} | {
    ("pids", version, file): parse
    for version in (1, 2)
    for file, parse in {
        "pids.current": _number("pids"),
        "pids.peak": _number("pids_peak"),
        "pids.events": _keyed(max=("pids_refused", 1)),
    }.items()
}
