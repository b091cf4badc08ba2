"""The second lock, on a kernel that has it: in force, alone in its denials, and missed when it is off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Daemon
from tests.vm.guest.conftest import SECRETS
from tests.vm.guest.sandboxes import ask, details, launch, proc
from tests.vm.guest.unit import SERVICE, command, systemctl

PROFILE = "container-kit-sandbox"
INSTALLED = Path("/etc/apparmor.d") / PROFILE
*DENIED, CONTROL = (f"/{path}" for path in SECRETS)


@pytest.fixture
def reloaded() -> Iterator[None]:
    """The profile as it is installed, and a daemon that knows it, when the test is through."""
    yield
    command("apparmor_parser", "--replace", INSTALLED)
    systemctl("restart", SERVICE)


def test_the_profile_is_in_force_and_the_report_says_so(kit: Daemon, image: str) -> None:
    sandbox = launch(kit, image, "sleep", "300", profile="strict")
    try:
        assert (proc(sandbox) / "attr/apparmor/current").read_text().strip() == f"{PROFILE} (enforce)"
        report = ask(kit, "GET", sandbox, "/report")
        assert {"id": "apparmor", "detail": f"profile {PROFILE}"} in report["active_controls"]
        assert [threat["id"] for threat in report["threats"] if "apparmor" in threat["id"]] == []
    finally:
        ask(kit, "DELETE", sandbox)


@pytest.mark.parametrize("path", DENIED)
def test_what_it_denies_is_denied_and_logged(kit: Daemon, image: str, path: str) -> None:
    result = kit.run(image, "sh", "-c", f"cat {CONTROL}; cat {path}", profile="strict")
    assert result["stdout"] == "readable\n"
    assert f"can't open '{path}': Permission denied" in result["stderr"]
    log = command("journalctl", "--dmesg", "--no-pager", "--grep", f'DENIED.*profile="{PROFILE}"')
    assert f'name="{path}"' in log


@pytest.mark.parametrize("path", DENIED)
def test_nothing_else_denies_it(image: str, path: str) -> None:
    """The control: the same user and file, under the engine's own profile."""
    run = ("docker", "run", "--rm", "--network=none", "--user=1000:1000", "--cap-drop=ALL")
    assert command(*run, "--security-opt=apparmor=docker-default", image, "cat", path) == "readable\n"


@pytest.mark.usefixtures("reloaded")
def test_a_profile_that_is_not_loaded_is_said(kit: Daemon, image: str) -> None:
    command("apparmor_parser", "--remove", INSTALLED)
    systemctl("restart", SERVICE)
    body = {"image": image, "command": ["true"], "profile": "strict"}
    report = kit.request("POST", "/v1/validate", body).json()
    assert "apparmor.not-loaded" in [threat["id"] for threat in report["threats"]]
    assert "apparmor" not in [control["id"] for control in report["active_controls"]]


@pytest.mark.usefixtures("reloaded")
def test_a_profile_that_only_complains_is_no_lock(kit: Daemon, image: str) -> None:
    """Loaded, named in the request, and in force nowhere."""
    command("apparmor_parser", "--replace", "--Complain", INSTALLED)
    systemctl("restart", SERVICE)
    body = {"image": image, "command": ["true"], "profile": "strict"}
    report = kit.request("POST", "/v1/validate", body).json()
    assert "apparmor.not-loaded" in [threat["id"] for threat in report["threats"]]
    assert "apparmor" not in [control["id"] for control in report["active_controls"]]


@pytest.mark.usefixtures("reloaded")
def test_a_lock_taken_off_behind_its_back_ends_the_launch(kit: Daemon, image: str) -> None:
    """The daemon still believes in the profile that it saw a moment ago: the attestation does not."""
    systemctl("restart", SERVICE)  # so that what it knows is from the next request on
    kit.request("POST", "/v1/validate", {"image": image, "command": ["true"], "profile": "strict"})
    command("apparmor_parser", "--replace", "--Complain", INSTALLED)
    problem = kit.run(image, "true", profile="strict")
    assert problem["status"] >= 400, problem
    (violation,) = [event for event in kit.events() if event["event_type"] == "SECURITY_VIOLATION"][-1:]
    assert f"{PROFILE} (complain)" in str(details(kit, violation["sandbox_id"], "SECURITY_VIOLATION"))
