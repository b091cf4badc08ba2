"""Runs a case in plain Docker with the options that make it possible: what it does if nothing holds it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError
from docker.models.containers import Container
from requests.exceptions import ConnectionError as Broken
from requests.exceptions import ReadTimeout

from tests.corpus.case import Attack, Benign, Image, Verdict
from tests.corpus.fakenet import FakeNet, fakenet
from tests.corpus.guard import guarded
from tests.corpus.host import Host
from tests.corpus.images import Images
from tests.corpus.outcome import Outcome, outcome, verdict

LABEL = "container-kit.corpus"
WORKSPACE = "/workspace"
# It waits for a line, so that whoever watches can be in place before the first step.
GATE = ["sh", "-c", 'read -r go; exec sh "$CASE_DIR/run.sh"']

# What --privileged gives, for engines that may not give it: those that lack CAP_SYS_RESOURCE themselves.
NEARLY_PRIVILEGED = {
    "Privileged": False,
    "CapAdd": ["ALL"],
    "CapDrop": ["SYS_RESOURCE"],
    "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
    "MaskedPaths": [],
    "ReadonlyPaths": [],
    "DeviceCgroupRules": ["a *:* rwm"],
}

Watch = Callable[[int], AbstractContextManager[None]]
OnEnd = Callable[[str], None]


def unwatched(_pid: int) -> AbstractContextManager[None]:
    return nullcontext()


def nothing(_container_id: str) -> None:
    return


@dataclass(frozen=True)
class Stage:
    """All that runs have in common."""

    client: docker.DockerClient
    images: Images
    host: Host
    fakenet: FakeNet
    privileged: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """`started_ns` is when the case was let go, by the wall clock; `changed` are settings of the host."""

    case: Attack | Benign
    container_id: str
    outcome: Outcome
    verdict: Verdict
    started_ns: int
    ended_ns: int
    changed: list[Path]
    far_side_saw: bool | None

    @property
    def duration_s(self) -> float:
        return (self.ended_ns - self.started_ns) / 1e9


@contextmanager
def stage(client: docker.DockerClient, made: Images, ours: Host) -> Iterator[Stage]:
    small = made[Image.BUSYBOX]
    with fakenet(client, small, {LABEL: "fakenet"}) as far_side:
        yield Stage(client, made, ours, far_side, _privileged(client, small))


def _privileged(client: docker.DockerClient, image: str) -> dict[str, Any]:
    container = client.containers.create(image, "true", privileged=True, network_mode="none")
    try:
        container.start()
        container.wait()
    except APIError:
        return NEARLY_PRIVILEGED
    finally:
        container.remove(force=True)
    return {"Privileged": True}


def run(on: Stage, case: Attack | Benign, *, watch: Watch = unwatched, on_end: OnEnd = nothing) -> Run:
    """One case, from the creation of its container to its removal.

    `watch` gets the host's pid of the case's first process; it is entered before the first step and left
    after the last. `on_end` gets the id of the container, which has ended and is still there.
    """
    logged = len(on.fakenet.log())
    with guarded() as changed, _folder() as folder:
        container = on.client.containers.get(_create(on, case, folder))
        try:
            started_ns = time.time_ns()
            exit_code = _let_go(on.client, container, case.timeout_s, watch)
            ended_ns = time.time_ns()
            output = container.logs().decode(errors="replace")
            seen = outcome(case, exit_code, output, on.host.canary)
            on_end(str(container.id))
        finally:
            container.remove(force=True)
    return Run(
        case=case,
        container_id=str(container.id),
        outcome=seen,
        verdict=verdict(case, seen),
        started_ns=started_ns,
        ended_ns=ended_ns,
        changed=changed,
        far_side_saw=_far_side_saw(on.fakenet, case, logged),
    )


@contextmanager
def _folder() -> Iterator[Path]:
    """For cases that share a folder with the host."""
    with tempfile.TemporaryDirectory(prefix="container-kit-work-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def _create(on: Stage, case: Attack | Benign, folder: Path) -> str:
    image = on.images[case.image]
    variables = {"HOME": WORKSPACE, **on.host.variables(case.id, image)}
    body = {
        "Image": image,
        "Cmd": GATE,
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "WorkingDir": WORKSPACE,
        "OpenStdin": True,
        "StdinOnce": True,
        "Labels": {LABEL: case.id},
        "HostConfig": _host_config(on, case, folder) if isinstance(case, Attack) else {"NetworkMode": "none"},
    }
    return str(on.client.api.create_container_from_config(body)["Id"])


def _host_config(on: Stage, case: Attack, folder: Path) -> dict[str, Any]:
    asked = case.options
    config = asked.host_config() | (on.privileged if asked.privileged else {})
    config["Binds"] = [bind.replace("@WORK@", str(folder)) for bind in config["Binds"]]
    config["NetworkMode"] = on.fakenet.network_mode if case.net == "fakenet" else "none"
    return config


def _let_go(client: docker.DockerClient, container: Container, limit_s: float, watch: Watch) -> int | None:
    """The exit code, 137 if it had to be killed; None if the runtime did not start it."""
    gate = client.api.attach_socket(str(container.id), {"stdin": 1, "stream": 1})
    try:
        if not _started(container):
            return None
        with watch(container.attrs["State"]["Pid"]):
            os.write(gate.fileno(), b"go\n")
            return _await_end(container, limit_s)
    finally:
        gate._response.close()  # docker-py has no public name for what owns the connection


def _started(container: Container) -> bool:
    try:
        container.start()
    except APIError:
        return False
    container.reload()
    return True


def _await_end(container: Container, limit_s: float) -> int:
    with suppress(ReadTimeout, Broken):  # which one depends on how much of the answer there was
        return int(container.wait(timeout=limit_s)["StatusCode"])
    with suppress(APIError):  # ended by itself in the meantime
        container.kill()
    return int(container.wait()["StatusCode"])


def _far_side_saw(far_side: FakeNet, case: Attack | Benign, logged: int) -> bool | None:
    if isinstance(case, Benign) or case.fake_log is None:
        return None
    return far_side.saw(case.fake_log, logged)
