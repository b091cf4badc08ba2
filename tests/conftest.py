"""Fixtures that many tests share: one image and one daemon for the whole run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from daemon.sandbox import init
from tests.images import imported
from tests.kernel.probe_image import build_probe
from tests.running import Daemon, daemon

IMAGE = f"container-kit-test/base:{os.getpid()}"  # other runs may use this engine too
OTHER_UID = 4711
collect_ignore = ["vm/guest"]  # for inside the test machine
# The same commit is judged by the same examples, however slow the machine is. New ones are looked for by
# `make explore`.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=20_000, deadline=None)
settings.load_profile("same")
OTHER_RULES = f"""
[[callers]]
users = [0]
profiles = ["*"]
administrator = true
quota = {{ running = 1024, launches_per_minute = 100000, memory = "1t", cpus = 10000 }}

[[callers]]
users = [{OTHER_UID}]
profiles = ["strict"]
quota = {{ running = 1, launches_per_minute = 30, memory = "256m", cpus = 2 }}
"""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Busybox and the kernel probe, on a root file system of our own."""
    probe = build_probe(tmp_path_factory.mktemp("probe"))
    with imported(IMAGE, {"probe": probe}) as tag:
        yield tag


@pytest.fixture(scope="session")
def running() -> Iterator[Daemon]:
    """A daemon in which root is administrator and OTHER_UID is a caller with a small quota."""
    if not init.BINARY.is_file():
        init.build()
    with (
        tempfile.TemporaryDirectory(prefix="container-kit-test-") as folder,
        daemon(Path(folder), OTHER_RULES) as started,
    ):
        yield started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root are skipped, and say so, where there is none."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
