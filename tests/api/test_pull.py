"""Images that are not on the host, from a real registry: fetched where the profile and the policy say so."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from daemon import PROFILES
from daemon.images.policy import FILE
from tests.images.local_registry import Images, registry
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

POLICY = """
[local]
images = ["*"]
why = "for the tests"

[[rules]]
images = ["{host}/trusted/**"]
why = "for the tests"
"""


@dataclass(frozen=True)
class Host:
    registry: str
    images: Images
    running: Daemon

    def pushed_only(self, name: str) -> str:
        """In the registry, and no longer on the engine."""
        full = f"{self.registry}/{name}"
        self.images.pushed(full)
        self.images.client.images.remove(full, force=True)
        return full


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("pull")
    profiles = folder / "profiles"
    profiles.mkdir()
    images = Images()
    try:
        with registry(folder) as address:
            text = (PROFILES / "default.toml").read_text().replace('name = "default"', 'name = "pulling"')
            text = text.replace("[pull]\nvalue = false", "[pull]\nvalue = true")
            trusted = f'["docker.io", "{address}"]'
            (profiles / "pulling.toml").write_text(text.replace('["docker.io"]', trusted))
            (profiles / FILE).write_text(POLICY.format(host=address))
            with daemon(folder, f'profile_dirs = ["{PROFILES}", "{profiles}"]\n') as running:
                yield Host(address, images, running)
    finally:
        images.close()


def test_it_is_pulled_once_for_all_who_ask(host: Host) -> None:
    name = host.pushed_only("trusted/app:1")
    with ThreadPoolExecutor(4) as clients:
        runs = clients.map(lambda _: host.running.run(name, "echo", "hi", profile="pulling"), range(4))
        assert [run["stdout"] for run in runs] == ["hi\n"] * 4


def test_another_profile_does_not_pull(host: Host) -> None:
    name = host.pushed_only("trusted/other:1")
    assert host.running.run(name, "true", profile="default")["type"] == "/problems/image-not-found"


def test_to_validate_is_not_to_pull(host: Host) -> None:
    name = host.pushed_only("trusted/judged:1")
    body = {"image": name, "command": ["true"], "profile": "pulling"}
    assert host.running.request("POST", "/v1/validate", body).json()["type"] == "/problems/image-not-found"


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("ghcr.io/team/app:1", 403, "untrusted registry: ghcr.io"),
        ("{registry}/untrusted/app:1", 403, "untrusted registry: no rule of the policy covers"),
        ("{registry}/trusted/absent:1", 422, "not found"),
        ("0123456789ab", 403, "id"),
    ],
)
def test_what_may_not_be_asked_for_or_is_not_there(host: Host, name: str, status: int, said: str) -> None:
    body = {"image": name.format(registry=host.registry), "command": ["true"], "profile": "pulling"}
    answer = host.running.request("POST", "/v1/sandboxes", body)
    assert (answer.status, said in answer.json()["detail"]) == (status, True), answer.json()
