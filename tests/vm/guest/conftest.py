"""Inside the machine, against the installed program: these tests need systemd, AppArmor and cgroup v2.

Run by tests.vm, with the program's own environment; nothing here is faked or set aside.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import imported
from tests.running import Daemon
from tests.vm.guest.unit import CONFIG, SERVICE, SOCKET_UNIT, systemctl

IMAGE = "container-kit-test/guest:local"
DEADLINE_S = 240.0  # of one request: an emulated processor is some twenty times slower
# In paths that only AppArmor denies, and in one that nothing does.
SECRETS = ("run/docker.sock", "var/lib/docker/secret", "srv/control")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    secret = tmp_path_factory.mktemp("image") / "secret"
    secret.write_text("readable\n")
    with imported(IMAGE, dict.fromkeys(SECRETS, secret)) as tag:
        yield tag


@pytest.fixture(scope="session", autouse=True)
def no_spares() -> None:
    """What launches leave can be counted."""
    with CONFIG.open("a") as config:
        config.write("\nspares_of_repeats = 0\n")
    systemctl("try-restart", SERVICE)


@pytest.fixture
def kit() -> Daemon:
    """The installed daemon behind its socket, whatever the test before did to it."""
    systemctl("start", SOCKET_UNIT)
    return Daemon(Path("/run/container-kit/api.sock"), Path("/var/lib/container-kit"), 0, DEADLINE_S)


class Results:
    """What came of each test, for one line of JSON and for the host."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome

    def pytest_unconfigure(self) -> None:
        names = {
            outcome: [name for name, seen in self.outcomes.items() if seen == outcome]
            for outcome in ("passed", "failed", "skipped")
        }
        counts = {outcome: len(found) for outcome, found in names.items()}
        summary = {"kernel": platform.release(), **counts, "failures": names["failed"]}
        (Path(os.environ["OUT"]) / "results.json").write_text(json.dumps(summary))
        print(json.dumps(summary))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Results())
