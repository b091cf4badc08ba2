"""Loading the kernel side: every program is probed by loading and attaching it, for no configuration tells.

Without those of REQUIRED there is no sensor; of the others, those that the kernel refuses are left out.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from daemon.sensors import abi, bpf, cgroups, libbpf
from daemon.sensors.abi import Handler

LIFECYCLE = ("on_mkdir", "on_attach", "on_fork", "on_exec", "on_exit")
REQUIRED = (*LIFECYCLE, "seed")
RING_TRACEPOINTS = {"on_ring_request": "io_uring_submit_req", "on_ring_request_old": "io_uring_submit_sqe"}
"""It was renamed in 6.3; a kernel has one or the other."""
TRACING = (*LIFECYCLE, "on_sys_exit", "on_handshake", *RING_TRACEPOINTS, "on_ring_completion")
EGRESS = ("on_connect4", "on_connect6", "on_sendmsg4", "on_sendmsg6", "on_socket")
ON = "on"
_TYPES = Path("/sys/kernel/btf/vmlinux")
_ACTIVE_LSM = Path("/sys/kernel/security/lsm")
_REFUSED = re.compile(r"prog '(\w+)': (?:failed to load|BPF program load failed)")


@dataclass
class Loaded:
    """`hooks` has each program, and ON or why it is not."""

    sensor: libbpf.Object
    hooks: dict[str, str]
    lsm: libbpf.Object | None = None
    lsm_hooks: tuple[str, ...] = field(default=())

    def off(self, names: Iterable[str]) -> str:
        """Why the first of these that is off is off; "" if all are on."""
        return next((f"{name}: {self.hooks.get(name)}" for name in names if self.hooks.get(name) != ON), "")

    @property
    def denies(self) -> bool:
        return bool(self.lsm_hooks) and not self.off(self.lsm_hooks)

    @property
    def detached(self) -> list[str]:
        """Programs that somebody else has detached."""
        return self.sensor.detached + (self.lsm.detached if self.lsm else [])

    def close(self) -> None:
        if self.lsm is not None:
            self.lsm.close()
        self.sensor.close()


def load(tree: cgroups.Tree, ring_bytes: int, folder: Path = bpf.FOLDER) -> Loaded:
    """Takes about a second. Raises OSError with libbpf's last lines where a required hook cannot be had."""
    settings = abi.SETTINGS.pack(tree.number, tree.hierarchy_id, Path("/proc/self/ns/mnt").stat().st_ino)
    sensor, hooks = _load_sensor(folder / bpf.SENSOR.name, settings, ring_bytes)
    loaded = Loaded(sensor, hooks)
    try:
        _attach_sensor(loaded)
        _add_lsm(loaded, folder / bpf.LSM.name)
    except OSError:
        loaded.close()
        raise
    return loaded


def _load_sensor(path: Path, settings: bytes, ring_bytes: int) -> tuple[libbpf.Object, dict[str, str]]:
    hooks = _without_tracepoint()
    while True:
        opened = libbpf.Object(path)
        try:
            opened.maps["rodata"].preset(settings)
            for name in ("alerts", "bulk"):
                opened.maps[name].resize(ring_bytes)
            for program in hooks:
                opened.skip(program)
            opened.load()
        except OSError as error:
            opened.close()
            refused = _REFUSED.search(str(error))
            if refused is None or refused[1] in REQUIRED or refused[1] in hooks:
                raise
            hooks[refused[1]] = str(error)
            continue
        return opened, hooks


def _without_tracepoint() -> dict[str, str]:
    """Asked of the kernel's types, for to be refused costs a second load of everything."""
    try:
        types = _TYPES.read_bytes()
    except FileNotFoundError:
        raise OSError(errno.ENOTSUP, f"no {_TYPES}: this kernel was built without BTF") from None
    return {
        program: f"this kernel has no tracepoint {tracepoint}"
        for program, tracepoint in RING_TRACEPOINTS.items()
        if f"\0btf_trace_{tracepoint}\0".encode() not in types
    }


def _attach_sensor(loaded: Loaded) -> None:
    """Handlers go into their slots before the program that jumps to them is attached."""
    refused = set(loaded.hooks)
    for handler in Handler:
        name = f"handle_{handler.name.lower()}"
        if name not in refused:
            loaded.sensor.fill_slot("handlers", handler, name)
            loaded.hooks[name] = ON
    for name in TRACING:
        if name not in refused:
            loaded.hooks[name] = _attach(loaded.sensor, name)
    if off := loaded.off(LIFECYCLE):
        raise OSError(off)
    loaded.sensor.iterate("seed")  # what the host is must be known before the first sandbox
    _attach_egress(loaded, [name for name in EGRESS if name not in refused])


def _attach_egress(loaded: Loaded, names: list[str]) -> None:
    """To all tasks: the programs look only at those of confined network namespaces."""
    mount_point = cgroups.find_unified()
    if mount_point is None:
        loaded.hooks |= dict.fromkeys(names, "cgroup v2 is not mounted")
        return
    root = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        loaded.hooks |= {name: _attach(loaded.sensor, name, root) for name in names}
    finally:
        os.close(root)


def _attach(opened: libbpf.Object, name: str, cgroup: int | None = None) -> str:
    try:
        opened.attach(name, cgroup)
    except OSError as error:
        return str(error)
    return ON


def _add_lsm(loaded: Loaded, path: Path) -> None:
    """All or nothing: half a denial is none."""
    opened = libbpf.Object(path)
    loaded.lsm, loaded.lsm_hooks = opened, tuple(opened.programs)
    for name, shared in opened.maps.items():
        if name in loaded.sensor.maps and name not in ("rodata", "bss", "data"):
            shared.share(loaded.sensor.maps[name])
    reason = _lsm_inactive() or _load_lsm(opened)
    loaded.hooks |= dict.fromkeys(loaded.lsm_hooks, reason or ON)
    if reason:
        opened.close()
        loaded.lsm = None


def _lsm_inactive() -> str:
    """A kernel may load and attach such programs and yet never call them."""
    try:
        active = _ACTIVE_LSM.read_text().strip().split(",")
    except OSError as error:
        return f"{_ACTIVE_LSM}: {error.strerror}"
    return "" if "bpf" in active else "bpf is not among the kernel's security modules: boot with lsm=...,bpf"


def _load_lsm(opened: libbpf.Object) -> str:
    try:
        opened.load()
        for name in opened.programs:
            opened.attach(name)
    except OSError as error:
        return str(error)
    return ""
