"""A name that means another image from one launch to the next, while the engine's events do not come."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine_proxy import EngineProxy, engine_proxy
from tests.images import imported
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

NAME = f"container-kit-test/moving:{os.getpid()}"
READ = ("cat", "/which")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Two that differ in one file, by its content."""
    folder = tmp_path_factory.mktemp("which")
    old, new = (folder / name for name in ("old", "new"))
    for path in (old, new):
        path.write_text(path.name)
    with imported(f"{NAME}-old", {"which": old}) as first, imported(f"{NAME}-new", {"which": new}) as second:
        yield {"old": first, "new": second}


@pytest.fixture
def name(images: dict[str, str]) -> Iterator[str]:
    docker("tag", images["old"], NAME)
    yield NAME
    subprocess.run(["docker", "rmi", NAME], check=False, capture_output=True)


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[Daemon]:
    """It asks for the engine's events of images, and the answer does not come."""
    never = threading.Event()
    with engine_proxy(tmp_path) as proxy:
        proxy.on_request = lambda request: _hold(request, never)
        try:
            with daemon(tmp_path, f'engine_socket = "{proxy.path}"', spares_of_repeats=1) as started:
                yield started
                never.set()
        finally:
            never.set()
            _end(proxy)


def _hold(request: bytes, until: threading.Event) -> None:
    if b"/events" in request and b"image" in request:
        until.wait()


def _end(proxy: EngineProxy) -> None:
    proxy.on_request = lambda _: None


def docker(*command: str) -> None:
    subprocess.run(["docker", *command], check=True, capture_output=True)


def started(running: Daemon, result: Any) -> list[str]:
    """The images that were said to have started."""
    return [
        event["details"]["image_id"]
        for event in running.events()
        if event["event_type"] == "EXECUTION_STARTED" and event["sandbox_id"] == result["sandbox_id"]
    ]


def image_id(name: str) -> str:
    command = ["docker", "inspect", "-f", "{{.Id}}", name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("launches_before", [1, 3])
def test_what_the_name_means_now_runs(
    deaf: Daemon, images: dict[str, str], name: str, launches_before: int
) -> None:
    """After three launches a spare of the old one waits: it is not for this."""
    for _ in range(launches_before):
        assert deaf.run(name, *READ)["stdout"] == "old"
    docker("tag", images["new"], name)
    result = deaf.run(name, *READ)
    assert result["stdout"] == "new"
    assert started(deaf, result) == [image_id(images["new"])]


def test_a_name_that_is_gone_runs_nothing(deaf: Daemon, name: str) -> None:
    assert deaf.run(name, *READ)["stdout"] == "old"
    docker("rmi", name)
    assert deaf.run(name, *READ)["type"] == "/problems/image-not-found"


def test_an_image_that_is_gone_runs_nothing(deaf: Daemon, name: str, tmp_path: Path) -> None:
    (tmp_path / "third").write_text("third")
    with imported(f"{NAME}-third", {"which": tmp_path / "third"}) as third:
        docker("tag", third, name)
        assert deaf.run(name, *READ)["stdout"] == "third"
        docker("rmi", third, name)
        assert deaf.run(name, *READ)["type"] == "/problems/image-not-found"
