"""What the tests of sensors share: one eBPF sensor, and containers that run a program of ours or busybox."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from daemon.sensors import bpf
from tests.images import imported
from tests.sensors.containers import Container, started
from tests.sensors.watching import Watching, build_act

ACT_IMAGE = f"container-kit-test/sensor:{os.getpid()}"
WORKLOAD_IMAGE = f"container-kit-test/sensors:{os.getpid()}"
SOURCE = Path(__file__).with_name("workload.c")


def _build() -> None:
    if shutil.which("clang") or not bpf.SENSOR.is_file():
        bpf.build()


@pytest.fixture(scope="session")
def act(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_act(tmp_path_factory.mktemp("act"))


@pytest.fixture(scope="session")
def sensor_image(act: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    canary = tmp_path_factory.mktemp("canary") / "canary"
    canary.write_text("secret\n")
    with imported(ACT_IMAGE, {"act": act, "etc/canary": canary}) as tag:
        yield tag


@pytest.fixture(scope="session")
def watching(sensor_image: str) -> Iterator[Watching]:
    """Loading takes seconds, and the kernel's state is the same for all."""
    _build()
    with Watching(sensor_image) as started:
        yield started


@pytest.fixture(scope="session")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program, for use on the host as well."""
    program = tmp_path_factory.mktemp("workload") / "workload"
    warnings = ("-Wall", "-Wextra", "-Werror")
    subprocess.run(["gcc", "-static", "-O2", "-pthread", *warnings, "-o", program, SOURCE], check=True)
    return program


@pytest.fixture(scope="session")
def sensors_image(workload: Path) -> Iterator[str]:
    with imported(WORKLOAD_IMAGE, {"workload": workload}) as tag:
        yield tag


Start = Callable[..., Container]


@pytest.fixture
def start(sensors_image: str) -> Iterator[Start]:
    """Starts containers that end with the test."""
    client = docker.DockerClient(base_url="unix:///var/run/docker.sock", version="1.41")
    running: list[Container] = []

    def start(*command: str, **options: object) -> Container:
        running.append(started(client, sensors_image, command, **options))
        return running[-1]

    yield start
    for container in running:
        client.api.remove_container(container.id, force=True)
    client.close()
