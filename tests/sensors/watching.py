"""A real sensor in a thread of its own, and containers for it to watch."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from daemon.events import Enrolled, Event
from daemon.sensors.calls import KNOWN
from daemon.sensors.ebpf import EbpfSensor

PARENT = "sensortest"
"""Of the test's containers. Under systemd it becomes a slice: without a dash, right below the root."""
NAMES = ("canary", "docker.sock")
CALLS = frozenset(KNOWN) | {"bpf", "keyctl", "io_uring_setup", "io_uring_enter", "userfaultfd"}
CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "NET_ADMIN")
OPEN = (
    *(f"--cap-add={name}" for name in CAPABILITIES),
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
)
"""A container without most of its walls: what happens inside succeeds."""
SETTLE_S = 0.4
E = TypeVar("E", bound=Event)
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    container: str
    output: str
    code: int

    @property
    def result(self) -> tuple[int, int]:
        """What the act returned, and errno."""
        result, error = self.output.split()[-2:]
        return int(result), int(error)


@dataclass
class Watching:
    """`seen` grows in another thread; lists only ever get longer."""

    image: str
    parent: str = PARENT
    sensor: EbpfSensor = field(init=False)
    seen: list[Event] = field(default_factory=list)
    paused: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @cached_property
    def cgroup_parent(self) -> str:
        """As Docker wants it, and where it is in the hierarchy."""
        command = ["docker", "info", "-f", "{{.CgroupDriver}}"]
        driver = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        return f"{self.parent}.slice" if driver == "systemd" else f"/{self.parent}"

    def __enter__(self) -> Watching:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.sensor = self.call(EbpfSensor.open(calls=CALLS, names=NAMES))
        self.do(self.sensor.watch_parent, "/" + self.cgroup_parent.lstrip("/"))
        self._reading = asyncio.run_coroutine_threadsafe(self._read(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.sensor.close())
        self._reading.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _read(self) -> None:
        async for batch in self.sensor.events():
            self.seen.extend(batch)
            while self.paused.is_set():
                await asyncio.sleep(0.01)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def do(self, function: Callable[..., T], *arguments: Any) -> T:
        async def run() -> T:
            return function(*arguments)

        return self.call(run())

    def start(self, *command: str, options: tuple[str, ...] = ()) -> str:
        """A container that runs `command` in the background; remove it."""
        network = () if any(option.startswith("--network=") for option in options) else ("--network=none",)
        create = ["docker", "create", f"--cgroup-parent={self.cgroup_parent}", *network, *options, self.image]
        container = subprocess.run(
            [*create, *command], check=True, capture_output=True, text=True
        ).stdout.strip()
        started = subprocess.run(["docker", "start", container], check=False, capture_output=True, text=True)
        if started.returncode:
            self.remove(container)
            raise RuntimeError(started.stderr)
        return container

    def run(self, *command: str, options: tuple[str, ...] = (), remove: bool = True) -> Run:
        """Returns when the container has ended and its events have had the time to arrive."""
        container = self.start(*command, options=options)
        try:
            waited = subprocess.run(["docker", "wait", container], check=True, capture_output=True, text=True)
            logs = subprocess.run(["docker", "logs", container], check=True, capture_output=True, text=True)
        finally:
            if remove:
                self.remove(container)
        time.sleep(SETTLE_S)
        return Run(container, logs.stdout, int(waited.stdout))

    def act(self, *command: str, options: tuple[str, ...] = OPEN) -> Run:
        return self.run("/act", *command, options=options)

    @staticmethod
    def remove(container: str) -> None:
        subprocess.run(["docker", "rm", "-f", container], check=True, capture_output=True)

    @staticmethod
    def exec(
        container: str, *command: str, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", "exec", *options, container, *command], check=False, capture_output=True, text=True
        )
        time.sleep(SETTLE_S)
        return done

    @staticmethod
    def pid(container: str) -> int:
        command = ["docker", "inspect", "-f", "{{.State.Pid}}", container]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def events(self, container: str, kind: type[E]) -> list[E]:
        return [event for event in list(self.seen) if event.sandbox == container and isinstance(event, kind)]

    def one(self, container: str, kind: type[E], **fields: Any) -> E:
        """The only event of that kind whose fields have these values."""
        found = [
            event
            for event in self.events(container, kind)
            if all(getattr(event, name) == value for name, value in fields.items())
        ]
        assert len(found) == 1, f"{len(found)} of {self.events(container, kind)}"
        return found[0]

    def await_enrolled(self, container: str) -> Enrolled:
        deadline_s = time.monotonic() + 10
        while not (found := self.events(container, Enrolled)):
            assert time.monotonic() < deadline_s, "the container was not enrolled"
            time.sleep(0.02)
        return found[0]

    def await_idle(self) -> None:
        """Until nothing new has come for a while."""
        before = -1
        while before != len(self.seen):
            before = len(self.seen)
            time.sleep(2 * SETTLE_S)


def run_in(cgroup: Path, *command: str | Path) -> None:
    """`command`, by default nothing much, as a sandbox without an engine: in a mount namespace of its own."""
    cgroup.mkdir(parents=True, exist_ok=True)
    enter = f'echo 0 >{cgroup}/cgroup.procs; exec unshare -m "$@"'
    subprocess.run(["sh", "-c", enter, "sh", *(command or ("true",))], check=True, capture_output=True)


def build_act(folder: Path) -> Path:
    """The one beside the source where there is one: a test machine has no compiler."""
    built = Path(__file__).with_name("act")
    if built.exists():
        return built
    program = folder / "act"
    source = Path(__file__).with_name("act.c")
    warnings = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")
    subprocess.run(["gcc", "-static", "-O1", *warnings, "-o", program, source, "-lpthread"], check=True)
    return program
