"""What tests of the init and of its pipes share."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.sandbox import init
from tests.running import reachable


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init", numbered=True)
    reachable(folder)
    return init.build(folder / "container-kit-init")
