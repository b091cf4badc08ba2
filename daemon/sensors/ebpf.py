"""The first sensor: what sandboxes do, as BPF programs in the kernel see it."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from daemon.errors import SensorError
from daemon.events import Event, Tier
from daemon.sensors import abi, cgroups, hooks, libbpf
from daemon.sensors.abi import DeviceAction, InKernel, InodeAction, Loss, Watch
from daemon.sensors.calls import Call, i386_numbers, rows, x86_64_numbers
from daemon.sensors.decode import Decoder, Sandboxes
from daemon.sensors.egress import Address, Destination, Egress, Ports
from daemon.sensors.ring import Ring

ALERTS_BUDGET, BULK_BUDGET = 1024, 128
"""Records a turn: a flood starves neither the event loop nor the alerts, which come first in each turn."""
PAUSE_S = 0.002
"""After bulk records: others that come soon are read together. An alert is read at once."""
SYSTEM_FOLDERS = ("etc", "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "root", "boot")
SYSTEM_SUBFOLDERS = (
    "var/spool",
    *(f"var/lib/{manager}" for manager in ("apk", "apt", "dpkg", "pacman", "rpm")),
)
"""Three components at most."""


class EbpfSensor:
    """Open it by `await EbpfSensor.open(...)`; close it to detach everything.

    Its methods are called in the event loop and do not block, but for those that are coroutines.
    """

    def __init__(self, loaded: hooks.Loaded, tree: cgroups.Tree) -> None:
        self.tier = Tier.LSM if loaded.denies else Tier.EBPF
        self._loaded, self._maps, self._tree = loaded, loaded.sensor.maps, tree
        self._egress = Egress(self._maps)
        self._sandboxes = Sandboxes()
        self._numbers: dict[str, int] = {}
        self._enrolled: dict[int, Any] = {}
        self._undecodable = 0
        self._decoder = Decoder(self.tier, self._sandboxes, self._on_attached, self._on_enrolled)
        self._alerts, self._bulk = (self._ring(name) for name in ("alerts", "bulk"))
        self._batch: list[Event] = []
        self._more = False
        """A turn's budget was used up."""
        self._readable = asyncio.Event()
        self._closed = False
        self._failure = ""

    @classmethod
    async def open(
        cls,
        *,
        calls: Iterable[str] = (),
        names: Iterable[str] = (),
        folders: Iterable[str] = (*SYSTEM_FOLDERS, *SYSTEM_SUBFOLDERS),
        ring_bytes: int = 1 << 22,
    ) -> Self:
        """`calls`, `names`: as detectors ask for (detectors/__init__.py). Loads in a thread, about a second.

        Raises SensorError with the last lines of libbpf where the required hooks cannot be had.
        """
        tree = cgroups.find_tree()
        try:
            loaded = await asyncio.to_thread(hooks.load, tree, ring_bytes)
        except OSError as error:
            raise SensorError(f"eBPF sensor: {error.strerror or error}{_advice(error)}") from error
        sensor = cls(loaded, tree)
        sensor.report(calls=calls, names=names, folders=folders)
        return sensor

    @property
    def hooks(self) -> dict[str, str]:
        """Each program of the kernel side: "on", or why it is not."""
        return dict(self._loaded.hooks)

    # --- what to watch

    def watch_parent(self, path: str, prefix: str = "") -> None:
        """Every cgroup right below `path` whose name starts with `prefix` is a sandbox, now and later.

        `path` starts at the hierarchy's root: `/docker`. It is made if it is missing, and is still watched
        after it was removed and made again, as systemd does with slices.
        """
        self._watch(path, Watch.CHILDREN, prefix)

    def watch_cgroup(self, path: str) -> None:
        """The cgroup itself is a sandbox."""
        self._watch(path, Watch.ITSELF)

    def unwatch(self, path: str) -> None:
        """No new task comes in by it; those inside are still watched."""
        self._maps["watched_paths"].discard(cgroups.path_key(path))
        with suppress(FileNotFoundError):
            number = cgroups.number_of(self._tree.directory(path))
            self._maps["watches"].discard(abi.U64.pack(number))

    def _watch(self, path: str, watch: Watch, prefix: str = "") -> None:
        directory = self._tree.directory(path)
        key, value = cgroups.path_key(path), cgroups.watched(watch, prefix)
        try:
            self._set_clock()
            self._maps["watched_paths"][key] = value
            directory.mkdir(parents=True, exist_ok=True)
            self._maps["watches"][abi.U64.pack(cgroups.number_of(directory))] = value
            self._loaded.sensor.iterate("seed")
        except OSError as error:
            raise SensorError(f"cannot watch the cgroup {path}: {error}") from error

    def _set_clock(self) -> None:
        """Times of files are of one clock, times of events of another."""
        self._maps["data"][abi.U32.pack(0)] = abi.U64.pack(_realtime_offset_ns())

    def report(
        self, *, calls: Iterable[str] = (), names: Iterable[str] = (), folders: Iterable[str] = ()
    ) -> None:
        """Reports these as well from now on."""
        wanted = frozenset(calls)
        for table, numbers in (("policies", x86_64_numbers()), ("compat_policies", i386_numbers())):
            for number, call in rows(wanted, numbers):
                self._set_policy(table, number, call)
        for name in names:
            self._maps["names"][_padded(name, abi.NAME_BYTES)] = abi.U32.pack(1)
        for folder in folders:
            first, second, third = (*folder.split("/", 2), "", "")[:3]
            key = b"".join(_padded(part, abi.FOLDER_BYTES) for part in (first, second, third))
            self._maps["folders"][key] = abi.U32.pack(1)

    def _set_policy(self, table: str, number: int, call: Call, *, kill: bool = False) -> None:
        self._maps[table][abi.U32.pack(number)] = call.packed(kill=kill)

    def watch_inode(self, device: int, inode: int, action: InodeAction = InodeAction.REPORT) -> None:
        """`device` in the kernel's form, as in `File.device`. DENY raises SensorError without BPF LSM."""
        if action & InodeAction.DENY:
            self._check_denial()
        self._maps["inodes"][abi.INODE_KEY.pack(inode, device, 0)] = abi.U32.pack(action)
        self._set_device(device, self._device(device) | DeviceAction.HAS_INODES)

    def unwatch_inode(self, device: int, inode: int) -> None:
        self._maps["inodes"].discard(abi.INODE_KEY.pack(inode, device, 0))

    def watch_device(self, device: int) -> None:
        """Every open on this file system is reported."""
        self._set_device(device, self._device(device) | DeviceAction.REPORT)

    def unwatch_device(self, device: int) -> None:
        self._set_device(device, self._device(device) & ~DeviceAction.REPORT)

    def _device(self, device: int) -> DeviceAction:
        raw = self._maps["devices"].get(abi.U32.pack(device))
        return DeviceAction(*abi.U32.unpack(raw)) if raw else DeviceAction(0)

    def _set_device(self, device: int, action: DeviceAction) -> None:
        self._maps["devices"][abi.U32.pack(device)] = abi.U32.pack(action)

    # --- what the kernel side does by itself

    def respond(self, container: str, response: InKernel) -> None:
        """At once, in the kernel. Raises SensorError for a container that the sensor saw no process of, and
        for DENY_ESCAPES without BPF LSM."""
        if response & InKernel.DENY_ESCAPES:
            self._check_denial()
        self._maps["responses"][abi.U64.pack(self._number(container))] = abi.U32.pack(response)

    def _check_denial(self) -> None:
        if not self._loaded.denies:
            raise SensorError(f"nothing can be denied here: {self._loaded.off(self._loaded.lsm_hooks)}")

    def kill_calls(self, calls: Iterable[str]) -> None:
        """Of sandboxes with KILL_ON_CALL."""
        wanted = frozenset(calls)
        for table, numbers in (("policies", x86_64_numbers()), ("compat_policies", i386_numbers())):
            for number, call in rows(wanted, numbers):
                if numbers[number] in wanted:
                    self._set_policy(table, number, call, kill=True)

    def set_egress(self, container: str, destinations: Iterable[Destination] | None) -> None:
        """It may connect and send to these and to itself only, by TCP and UDP; None lifts that.

        Connections that stand are not cut. Raises SensorError where it cannot be enforced.
        """
        number = self._number(container)
        if off := self._loaded.off(hooks.EGRESS):
            raise SensorError(f"egress cannot be confined here: {off}")
        enrolled = self._enrolled[number]
        if enrolled.net_ns in (self._init_net_ns(), Path("/proc/self/ns/net").stat().st_ino):
            raise SensorError(f"container {container} is in the host's network: that cannot be confined")
        if destinations is None:
            self._egress.lift(enrolled.net_cookie)
        else:
            self._egress.confine(enrolled.net_cookie, number, destinations)

    def permit(self, container: str, address: Address, ports: Ports) -> None:
        """One more destination of a confined container; of one that is quarantined it changes nothing."""
        self._egress.permit(self._enrolled[self._number(container)].net_cookie, address, ports)

    def retract(self, container: str, address: Address) -> None:
        """What `permit` gave. Connections that stand are not cut."""
        self._egress.retract(self._enrolled[self._number(container)].net_cookie, address)

    def quarantine(self, container: str) -> None:
        """It may connect to itself only."""
        self.set_egress(container, ())

    def _init_net_ns(self) -> int:
        raw = self._maps["bss"].get(abi.U32.pack(0))
        return int(abi.HOST.unpack(raw).net_ns) if raw else 0

    def _number(self, container: str) -> int:
        try:
            return self._numbers[container]
        except KeyError:
            raise SensorError(f"container {container} has no process that the sensor saw") from None

    # --- what is known of sandboxes

    def _on_attached(self, number: int, name: str) -> None:
        container = cgroups.container_of(name)
        self._sandboxes.containers[number] = container
        self._numbers[container] = number

    def _on_enrolled(self, number: int, enrolled: Any) -> None:
        self._enrolled[number] = enrolled
        self._sandboxes.started_ns[number] = enrolled.started_ns + _realtime_offset_ns()

    def forget(self, container: str) -> None:
        """It has ended: its numbers may be another's soon."""
        number = self._numbers.pop(container, None)
        if number is None:
            return
        key = abi.U64.pack(number)
        enrolled = self._enrolled.pop(number, None)
        if enrolled is not None:
            self._egress.lift(enrolled.net_cookie)
            root = abi.U32.pack(enrolled.root_device)
            if self._maps["roots"].get(root) == key:
                self._maps["roots"].discard(root)
        for name in ("sandboxes", "responses"):
            self._maps[name].discard(key)
        self._sandboxes.forget(number)

    # --- events

    @property
    def lost(self) -> dict[str, int]:
        counts = {loss.name.lower(): self._lost(loss) for loss in Loss}
        return {**counts, "undecodable": self._undecodable}

    def _lost(self, loss: Loss) -> int:
        cpus = libbpf.possible_cpus()
        raw = self._maps["losses"].get(abi.U32.pack(loss), cpus) or b""
        return sum(value for (value,) in struct.iter_unpack("<Q", raw))

    def poll(self) -> list[Event]:
        """What the kernel has told by now, up to a turn's budget, without waiting; empty if nothing."""
        self._drain()
        batch, self._batch = self._batch, []
        return batch

    def verify(self) -> None:
        """Ends the iteration of events with an error if somebody has detached a program."""
        if not self._closed and (detached := self._loaded.detached):
            self._failure = f"eBPF sensor: detached by somebody else: {', '.join(detached)}"
            self._readable.set()

    async def events(self) -> AsyncIterator[list[Event]]:
        """Raises SensorError after `verify` found fault."""
        while not self._closed:
            if self._failure:
                raise SensorError(self._failure)
            if batch := self.poll():
                yield batch
            if self._more:
                await asyncio.sleep(0)
            elif batch:
                await self._wait((self._alerts,), PAUSE_S)
            else:
                await self._wait((self._alerts, self._bulk))

    def _drain(self) -> None:
        alerts = self._alerts.read(self._take, ALERTS_BUDGET)
        bulk = self._bulk.read(self._take, BULK_BUDGET)
        self._more = alerts == ALERTS_BUDGET or bulk == BULK_BUDGET
        if alerts and bulk:
            self._batch.sort(key=lambda event: event.time_ns)

    def _take(self, data: memoryview) -> None:
        try:
            event = self._decoder.decode(data)
        except (ValueError, KeyError, IndexError, struct.error):
            self._undecodable += 1
            return
        if event is not None:
            self._batch.append(event)

    async def _wait(self, rings: tuple[Ring, ...], timeout_s: float | None = None) -> None:
        """Until one of them has something, and no longer than that."""
        self._readable.clear()
        if any(ring.arm() for ring in rings):
            await asyncio.sleep(0)  # it may still be in the making
            return
        loop = asyncio.get_running_loop()
        timer = None if timeout_s is None else loop.call_later(timeout_s, self._readable.set)
        for ring in rings:
            loop.add_reader(ring.fd, self._readable.set)
        try:
            await self._readable.wait()
        finally:
            for ring in rings:
                loop.remove_reader(ring.fd)
            if timer is not None:
                timer.cancel()

    def _ring(self, name: str) -> Ring:
        found = self._maps[name]
        return Ring(found.fd, found.max_entries)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._readable.set()
        self._alerts.close()
        self._bulk.close()
        await asyncio.to_thread(self._loaded.close)


def _realtime_offset_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def _padded(text: str, size: int) -> bytes:
    raw = text.encode()
    if len(raw) >= size:
        raise SensorError(f"{text!r} has more than {size - 1} bytes")
    return raw.ljust(size, b"\0")


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "\nIt needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN."
    if isinstance(error, FileNotFoundError):
        return "\nBuild it: python -m daemon.sensors.bpf"
    return "\nIt needs Linux 5.11 or later with BTF (/sys/kernel/btf/vmlinux), and libbpf1."
