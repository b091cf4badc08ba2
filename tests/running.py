"""A real daemon as a child process on a temporary socket."""

from __future__ import annotations

import grp
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import docker

from daemon import ROOT
from daemon.audit.segments import all_lines, seq_of
from daemon.sandbox.engine import INSTANCE_LABEL
from daemon.sandbox.executor import instance

START_DEADLINE_S = 20.0
ENGINE = Path("/run/docker.sock")
SOCKET_GROUP = "users"  # as container-kit where it is installed


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path, deadline_s: float) -> None:
        super().__init__("daemon", timeout=deadline_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@contextmanager
def open_folder() -> Iterator[Path]:
    """For other users, too: each run of pytest that begins closes the folder of them all."""
    with tempfile.TemporaryDirectory(prefix="container-kit-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


@dataclass(frozen=True)
class Daemon:
    socket: Path
    state: Path
    pid: int
    deadline_s: float = 60.0

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = UnixConnection(self.socket, self.deadline_s)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if body is None or isinstance(body, bytes) else {"Content-Type": "application/json"}
        try:
            connection.request(method, path, data, {**kind, **(headers or {})})
            response: HTTPResponse = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def request_as(
        self,
        uid: int,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        groups: tuple[int, ...] = (),
    ) -> Answer:
        """The same from a process of another user, in SOCKET_GROUP and in the group of its uid's number."""
        given = {"Content-Type": "application/json", **(headers or {})}
        command = ["curl", "-s", "-i", "-m", "60", "-X", method, "--unix-socket", str(self.socket)]
        command += [part for name, value in given.items() for part in ("-H", f"{name}: {value}")]
        command += [] if body is None else ["-d", json.dumps(body)]
        done = subprocess.run(
            [*command, f"http://daemon{path}"],
            capture_output=True,
            check=True,
            user=uid,
            group=uid,
            extra_groups=(grp.getgrnam(SOCKET_GROUP).gr_gid, *groups),
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        return Answer(int(status.split()[1]), dict(line.split(": ", 1) for line in lines), content)

    def launch(self, image: str, *command: str, **options: Any) -> Any:
        """The sandbox as the API shows it, or the problem."""
        return self.request(
            "POST", "/v1/sandboxes", {"image": image, "command": list(command), **options}
        ).json()

    def run(self, image: str, *command: str, **options: Any) -> Any:
        """The ExecutionResult, or the problem."""
        body = {"image": image, "command": list(command), **options}
        return self.request("POST", "/v1/sandboxes?wait=true", body).json()

    def events(self) -> list[Any]:
        """Without the checkpoints, of which there is one a second."""
        lines = map(json.loads, all_lines(self.state / "audit/audit.jsonl"))
        return [line for line in lines if line["event_type"] != "AUDIT_CHECKPOINT"]

    def newest(self) -> int:
        """The number of the last event."""
        *_, last = all_lines(self.state / "audit/audit.jsonl")
        return seq_of(last)

    def containers(self) -> int:
        """How many this daemon made that are still there, running or not; another may use the same engine."""
        return len(self.container_ids())

    def container_ids(self) -> list[str]:
        with self._engine() as client:
            return [str(container["Id"]) for container in self._own(client)]

    def _own(self, client: docker.APIClient) -> list[dict[str, Any]]:
        own = f"{INSTANCE_LABEL}={instance(self.state / 'audit/audit.jsonl')}"
        listed: list[dict[str, Any]] = client.containers(all=True, filters={"label": own})
        return listed

    @staticmethod
    def _engine() -> closing[docker.APIClient]:
        return closing(docker.APIClient(base_url=f"unix://{ENGINE}", version="1.41"))


@contextmanager
def daemon(
    folder: Path,
    config: str = "",
    ready: str = "/readyz",
    end: signal.Signals = signal.SIGTERM,
    *,
    without_bpf: bool = False,
    modules: Path | None = None,
    spares_of_repeats: int = 0,
    leaving: int = 0,
) -> Iterator[Daemon]:
    """Once it answers 200 at `ready`; ended by the signal `end`, and in order leaves `leaving` containers.

    `without_bpf`: no program can be loaded. `modules`: a folder with packages that are installed besides.
    Unless a test asks for spares, there are none: what launches leave can be counted.
    """
    path, settings = folder / "api.sock", folder / "config.toml"
    folder.chmod(0o755)
    settings.write_text(
        f'socket = "{path}"\nsocket_group = "{SOCKET_GROUP}"\nstate_dir = "{folder}/state"\n'
        f"spares_of_repeats = {spares_of_repeats}\n{config}"
    )
    environment = {"PATH": os.environ["PATH"], "CONTAINER_KIT_CONFIG": str(settings)}
    if modules is not None:
        environment["PYTHONPATH"] = str(modules)
    lacking = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin"] if without_bpf else []
    command = [*lacking, "nice", "-n", "-10", sys.executable, "-m", "daemon"]  # as its unit has it
    with (folder / "daemon.log").open("wb") as log:
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log, start_new_session=True)
    _weigh(child.pid)
    try:
        running = Daemon(path, folder / "state", child.pid)
        _await_ready(running, child, folder / "daemon.log", ready)
        yield running
    finally:
        child.send_signal(end)
        child.wait(30)
        _give_back_room(folder / "state/audit")
    if child.returncode == 0 and ENGINE.exists():
        assert running.containers() == leaving


def process_of(container_id: str) -> Path:
    """In /proc: the first that is found in its cgroup."""
    return next(file.parent for file in Path("/proc").glob("[0-9]*/cgroup") if container_id in _text(file))


def _text(file: Path) -> str:
    """Empty where the process has ended."""
    with suppress(OSError):
        return file.read_text()
    return ""


def _give_back_room(audit: Path) -> None:
    """What it took of the disk beforehand: 144 MiB each, of hundreds of daemons in a run."""
    for file in audit.glob("*"):
        os.truncate(file, file.stat().st_size)


def _weigh(pid: int) -> None:
    """Ten times what another group of tasks has, as by CPUWeight= of its unit.

    A priority counts only among those of one session (sched(7), the autogroup feature).
    """
    autogroup = Path(f"/proc/{pid}/autogroup")
    if autogroup.exists():
        autogroup.write_text("-10")


def _await_ready(running: Daemon, child: subprocess.Popen[bytes], log: Path, path: str) -> None:
    deadline_s = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline_s:
        if child.poll() is not None:
            raise RuntimeError(f"the daemon ended with {child.returncode}:\n{log.read_text()}")
        try:
            if running.request("GET", path).status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the daemon is not ready:\n{log.read_text()}")
