"""What the unit does not allow by itself: without its drop-in the daemon says so, with it it works."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Daemon
from tests.vm.guest.unit import SERVICE, await_that, command, main_pid, settings, shown

EX_CONFIG = 78
PAGER = Path("/usr/local/bin/page")
PAGE = """#!/bin/sh
read -r alert
rights=$(grep -E 'CapEff|NoNewPrivs' /proc/self/status)
logger --tag paged "$(id -u) $(echo $rights) $alert"
"""
ALERTS = f"""
[[alerts]]
name = "refusals"
minimum_severity = "low"
event_types = ["EXECUTION_BLOCKED"]
channels = ["page"]

[[alert_channels]]
name = "page"
kind = "command"
argv = ["{PAGER}"]
sockets = true
"""
GUARDED = Path("/srv/guarded")
GUARDS = f'watch = "all"\nguarded_files = ["{GUARDED}/key"]\n'


def journal(*matches: str) -> str:
    return command("journalctl", "--no-pager", "--output=cat", *matches)


def status_of_main() -> dict[str, str]:
    lines = Path(f"/proc/{main_pid()}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.fixture
def pager() -> Iterator[None]:
    PAGER.write_text(PAGE)
    PAGER.chmod(0o755)
    yield
    PAGER.unlink()


@pytest.fixture
def key() -> Iterator[Path]:
    GUARDED.mkdir()
    path = GUARDED / "key"
    path.write_text("secret\n")
    yield path
    path.unlink()
    GUARDED.rmdir()


@pytest.mark.usefixtures("kit", "pager", "key")
@pytest.mark.parametrize(
    ("added", "drop_in"), [(ALERTS, "alert-commands.conf"), (GUARDS, "guarded-files.conf")]
)
def test_without_it_the_daemon_says_which_one_is_missing(added: str, drop_in: str) -> None:
    with settings(added):
        assert shown("ActiveState") == "failed"
        assert (shown("ExecMainStatus"), shown("NRestarts")) == (str(EX_CONFIG), "0")
        *_, said = (line for line in journal("--unit", SERVICE).splitlines() if "container-kitd: " in line)
        assert drop_in in said
    assert shown("ActiveState") == "active"


@pytest.mark.usefixtures("pager")
def test_with_it_a_command_is_told_as_nobody(kit: Daemon, image: str) -> None:
    with settings(ALERTS, "alert-commands.conf"):
        assert shown("ActiveState") == "active", journal("--unit", SERVICE)
        mounts = [{"source": "/run/docker.sock", "target": "/mnt/s"}]
        assert kit.run(image, "true", mounts=mounts)["status"] == 403
        await_that(lambda: "EXECUTION_BLOCKED" in journal("--identifier", "paged"))
        page = journal("--identifier", "paged").splitlines()[-1]
        *rights, alert = page.split(maxsplit=5)
        assert rights == ["65534", "CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
        assert '"status":"firing"' in alert
        assert status_of_main()["NoNewPrivs"] == "1"


def test_with_it_a_guarded_file_is_denied(kit: Daemon, image: str, key: Path) -> None:
    with settings(GUARDS, "guarded-files.conf"):
        assert shown("ActiveState") == "active", journal("--unit", SERVICE)
        run = ["docker", "run", "--rm", "--network=none", f"--volume={GUARDED}:/w:ro", image, "cat", "/w/key"]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Operation not permitted" in done.stderr
        assert command("cat", key) == "secret\n"  # the host uses it

        def found() -> bool:
            items = kit.request("GET", "/v1/findings").json()["items"]
            return any(item["rule_id"] == "guarded-file" for item in items)

        await_that(found)
        assert status_of_main()["Seccomp"] == "2"


@pytest.mark.usefixtures("pager", "key")
def test_both_go_together(kit: Daemon, image: str) -> None:
    with settings(GUARDS + ALERTS, "guarded-files.conf", "alert-commands.conf"):
        assert shown("ActiveState") == "active", journal("--unit", SERVICE)
        assert kit.run(image, "echo", "still works", profile="strict")["stdout"] == "still works\n"
