"""Containers of the tests' own, that run the workload or busybox."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.images import imported
from tests.sensors.containers import Container, started

IMAGE = "container-kit-test/sensors:local"
SOURCE = Path(__file__).with_name("workload.c")


@pytest.fixture(scope="session")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program, for use on the host as well."""
    program = tmp_path_factory.mktemp("workload") / "workload"
    warnings = ("-Wall", "-Wextra", "-Werror")
    subprocess.run(["gcc", "-static", "-O2", "-pthread", *warnings, "-o", program, SOURCE], check=True)
    return program


@pytest.fixture(scope="session")
def sensors_image(workload: Path) -> Iterator[str]:
    with imported(IMAGE, {"workload": workload}) as tag:
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
