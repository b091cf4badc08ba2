"""The watching half under the unit's sandboxing: the best sensor runs, sees everything, and cries no wolf."""

from __future__ import annotations

import pytest

from tests.running import Daemon


def test_the_best_sensor_runs(kit: Daemon) -> None:
    health = kit.request("GET", "/healthz").json()
    problems = {sensor["name"]: sensor["problem"] for sensor in health["sensors"] if not sensor["running"]}
    assert (health["sensor_tier"], problems) == ("ebpf-lsm", {})


@pytest.mark.parametrize("profile", ["strict", "default", "build"])
def test_a_harmless_program_gives_no_finding(kit: Daemon, image: str, profile: str) -> None:
    script = "echo x >f; cat f; sleep 1 & wait; id; ls -R /etc; yes | head -c 1000000 | wc -c"
    result = kit.run(image, "sh", "-c", script, profile=profile)
    assert (result["exit_code"], result["findings"]) == (0, [])


@pytest.mark.parametrize("attempt", ["unshare -r true", "mount -t proc proc /tmp", "chroot / true"])
def test_an_attempt_to_leave_is_found(kit: Daemon, image: str, attempt: str) -> None:
    """Each is denied; that it was tried is what has to be known."""
    result = kit.run(image, "sh", "-c", f"{attempt}; true", profile="default")
    assert result["findings"], result
    assert {finding["sandbox_id"] for finding in result["findings"]} == {result["sandbox_id"]}
    assert {finding["sensor_tier"] for finding in result["findings"]} == {"ebpf-lsm"}


def test_nothing_was_lost(kit: Daemon) -> None:
    health = kit.request("GET", "/healthz").json()
    assert {reason: count for reason, count in health["events_lost"].items() if count} == {}
    assert health["detectors_failed"] == {}
