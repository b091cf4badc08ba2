"""What the engine keeps on the disk tells the same of a container as its own answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from daemon.sandbox import on_disk
from daemon.sandbox.expected import of_inspected

ID = "c" * 64
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "open": {"privileged": True, "pid_mode": "host", "network_mode": "host"},
    "mounts": {"binds": ["/etc/hostname:/x:ro"], "tmpfs": {"/t": "noexec"}, "read_only": True},
    "capabilities": {"cap_drop": ["ALL"], "cap_add": ["NET_RAW"], "security_opt": ["no-new-privileges"]},
}


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.APIClient]:
    with closing(docker.APIClient(base_url="unix:///run/docker.sock", version="1.41")) as client:
        yield client


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_is_what_the_engine_says(engine: docker.APIClient, image: str, options: dict[str, Any]) -> None:
    made = engine.create_container(
        image, ["true"], user="7", host_config=engine.create_host_config(**options), labels={"a": "b"}
    )["Id"]
    try:
        found = on_disk.inspected(Path(engine.info()["DockerRootDir"]), made)
        told = engine.inspect_container(made)
    finally:
        engine.remove_container(made, force=True)
    assert found is not None
    assert of_inspected(found) == of_inspected(told)
    assert found["Config"]["Labels"] == told["Config"]["Labels"]


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"[]",
        b"{}",
        b"[1]",
        b'{"Config": {}, "MountPoints": []}',
        b'{"Config": 7, "MountPoints": {}}',
        b'{"a": "' + b"x" * on_disk.FILE_BYTES,
        b"\xff",
    ],
)
def test_what_is_not_as_known_counts_as_nothing(tmp_path: Path, kept: bytes) -> None:
    folder = tmp_path / "containers" / ID
    folder.mkdir(parents=True)
    (folder / on_disk.CONFIG).write_bytes(kept)
    (folder / on_disk.HOST_CONFIG).write_text(json.dumps({}))
    assert on_disk.inspected(tmp_path, ID) is None


@pytest.mark.parametrize("name", ["", "..", "cgroup:7", ID.upper(), ID + "/.."])
def test_only_a_containers_id_leads_anywhere(tmp_path: Path, name: str) -> None:
    assert on_disk.inspected(tmp_path, name) is None


def test_one_that_is_not_there(tmp_path: Path) -> None:
    assert on_disk.inspected(tmp_path, ID) is None
