"""docs/api.md is what the daemon serves, and its examples do what they say."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from daemon import ROOT
from daemon.api import problem_types
from daemon.api.reference import EXAMPLES, render
from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

OF_THE_SERVER = {"bad-request", "method-not-allowed", "internal"}


def test_it_is_up_to_date(running: Daemon) -> None:
    served = running.request("GET", "/openapi.json").json()
    assert (ROOT / "docs/api.md").read_text() == render(served), "run: make docs"


@pytest.mark.parametrize(("method", "path"), EXAMPLES)
def test_each_example_works(running: Daemon, image: str, tmp_path: Path, method: str, path: str) -> None:
    (tmp_path / "in.txt").write_text("hello")
    (tmp_path / "tree").mkdir()
    sandbox = running.launch(
        image, "sleep", "3", files={"in.txt": "hello", "tree/leaf": "x"}, limits={"memory": "32m"}
    )
    script = "\n".join(EXAMPLES[method, path]).replace("busybox", image)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "S": str(running.socket), "ID": sandbox["id"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "/problems/" not in done.stdout
    running.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")


def test_every_example_is_of_a_route(running: Daemon) -> None:
    paths = running.request("GET", "/openapi.json").json()["paths"]
    assert {(method, path) for path in paths for method in paths[path]} >= EXAMPLES.keys()


def test_every_type_of_problem_is_of_some_route(running: Daemon) -> None:
    served = json.dumps(running.request("GET", "/openapi.json").json())
    unused = {one.name for one in problem_types.ALL if f'"/problems/{one.name}"' not in served}
    assert unused == OF_THE_SERVER
