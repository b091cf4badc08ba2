"""One sensor for all tests of it: loading takes seconds, and the kernel's state is the same for all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.sensors import bpf
from tests.images import imported
from tests.sensors.watching import Watching, build_act

IMAGE = "container-kit-test/sensor:local"


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
    with imported(IMAGE, {"act": act, "etc/canary": canary}) as tag:
        yield tag


@pytest.fixture(scope="session")
def watching(sensor_image: str) -> Iterator[Watching]:
    _build()
    with Watching(sensor_image) as started:
        yield started
