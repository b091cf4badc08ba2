"""Files of the host that the settings name: denied to whom they say, told, and guarded anew when replaced."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import ConfigError
from daemon.guard import _guarded
from daemon.settings import Settings
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]

DEADLINE_S = 30.0
TRIES = 20


@dataclass
class Guarding:
    daemon: Daemon
    image: str
    folder: Path

    def cat(self, name: str) -> tuple[str, str]:
        """From a container that was given the folder: its id, and what came of each try."""
        script = f"for i in $(seq {TRIES}); do cat /w/{name} 2>&1; done"
        options = ["--network=none", f"--volume={self.folder}:/w:ro"]
        command = ["docker", "run", "--detach", *options, self.image, "sh", "-c", script]
        container = subprocess.check_output(command, text=True).strip()
        try:
            subprocess.run(["docker", "wait", container], check=True, capture_output=True)
            return container, subprocess.check_output(["docker", "logs", container], text=True)
        finally:
            subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)

    def findings(self, container: str, rule_id: str) -> dict[str, Any]:
        end_s = time.monotonic() + DEADLINE_S
        while True:
            found = self.daemon.request("GET", f"/v1/findings?container={container}").json()["items"]
            if mine := [one for one in found if one["rule_id"] == rule_id]:
                return dict(mine[0])
            assert time.monotonic() < end_s, found
            time.sleep(0.1)


def host_opens(path: Path) -> bool:
    """By another process than the daemon."""
    done = subprocess.run([sys.executable, "-c", f"open({str(path)!r})"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(scope="module")
def guarding(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[Guarding]:
    folder, files = tmp_path_factory.mktemp("daemon"), tmp_path_factory.mktemp("files")
    files.chmod(0o755)
    for name in ("canary", "key", "other"):
        (files / name).write_text("secret\n")
    config = f'watch = "all"\ncanaries = ["{files}/canary"]\nguarded_files = ["{files}/key"]\n'
    with daemon(folder, config) as started:
        yield Guarding(started, image, files)


@pytest.mark.parametrize("name", ["canary", "key"])
def test_no_container_opens_it_and_each_try_is_told(guarding: Guarding, name: str) -> None:
    container, output = guarding.cat(name)
    assert "secret" not in output
    assert output.count("Operation not permitted") == TRIES
    found = guarding.findings(container, "guarded-file")
    assert (found["severity"], found["process"]["exe"]) == ("critical", "/bin/busybox")
    assert name in found["evidence"]["path"]


def test_what_lies_beside_it_is_open(guarding: Guarding) -> None:
    _, output = guarding.cat("other")
    assert output == "secret\n" * TRIES


def test_the_host_opens_what_it_uses_and_no_canary(guarding: Guarding) -> None:
    assert host_opens(guarding.folder / "key")
    assert not host_opens(guarding.folder / "canary")


def test_what_replaces_it_is_guarded_soon(guarding: Guarding) -> None:
    (guarding.folder / "new").write_text("secret\n")
    (guarding.folder / "new").rename(guarding.folder / "canary")
    end_s = time.monotonic() + DEADLINE_S
    while host_opens(guarding.folder / "canary"):
        assert time.monotonic() < end_s
        time.sleep(0.1)
    assert guarding.findings("", "canary-touched")["severity"] == "critical"


@pytest.mark.parametrize("path", ["/nowhere/at-all", "/etc", "relative"])
def test_one_that_cannot_be_guarded_is_no_setting(path: str) -> None:
    with pytest.raises(ConfigError, match=f"canaries, guarded_files: .*{path}"):
        _guarded(Settings(guarded_files=[Path("/etc/hostname"), Path(path)]))
