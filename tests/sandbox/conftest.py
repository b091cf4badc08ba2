"""What tests of the init and of its pipes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.sandbox import init
from tests.running import open_folder


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    with open_folder() as folder:
        yield init.build(folder / "container-kit-init")
