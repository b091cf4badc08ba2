"""The invariant: what no exploit can keep, and what is lawful all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import Drift
from detectors.process.drift import InvariantDrift
from tests.detectors.making import (
    ALL_CAPABILITIES,
    PLAIN,
    PRIVILEGED,
    STRICT,
    enrolled,
    executed,
    exited,
    findings,
    forked,
    limit,
    opened,
    told,
)

UNPRIVILEGED = replace(PLAIN, uid=1000)
CREDENTIALS = Drift.CAPABILITIES | Drift.UID


@pytest.mark.parametrize(
    ("drift", "rule"),
    [
        (Drift.MOUNT_NAMESPACE, "namespace-drift"),
        (Drift.USER_NAMESPACE, "namespace-drift"),
        (Drift.PID_NAMESPACE, "namespace-drift"),
        (Drift.CAPABILITIES, "capability-drift"),
        (Drift.ROOT, "root-drift"),
        (Drift.UID, "uid-drift"),
    ],
)
def test_each_departure_is_critical_whatever_event_shows_it(drift: Drift, rule: str) -> None:
    shown_by = (executed("/bin/sh", drift=drift), opened("/x", drift=drift), forked(7, drift=drift))
    for event in (*shown_by, exited(7, drift=drift), limit("cpu", drift=drift), enrolled(drift=drift)):
        assert told(InvariantDrift(), event, sandbox=STRICT) == [(rule, "critical")]


def test_nsenter_into_the_host_is_two_departures() -> None:
    """-m -p of proc-nsenter-pid1: the next exec is in the host's namespaces with the host's root."""
    event = executed("cat", "/etc/shadow", path="/usr/bin/cat", drift=Drift.MOUNT_NAMESPACE | Drift.ROOT)
    assert told(InvariantDrift(), event, sandbox=PRIVILEGED) == [
        ("namespace-drift", "critical"),
        ("root-drift", "critical"),
    ]


def test_evidence_says_from_what_and_to_what() -> None:
    event = opened("/x", drift=Drift.CAPABILITIES, capabilities=ALL_CAPABILITIES)
    (found,) = findings(InvariantDrift(), [event], STRICT)
    assert found.evidence["drift"] == ["CAPABILITIES"]
    assert found.evidence["capabilities"] == "0x1ffffffffff"
    assert found.evidence["expected_capabilities"] == "0x0"
    assert found.evidence["namespaces"]["mnt"] == 4026532300


def test_the_same_departure_again_is_the_same_finding() -> None:
    events = [opened("/x", pid=pid, drift=Drift.ROOT) for pid in (1, 2, 3)]
    assert len({found.identifier for found in findings(InvariantDrift(), events)}) == 1


def test_no_departure_no_finding() -> None:
    assert told(InvariantDrift(), executed("/bin/sh"), opened("/x"), exited(100), sandbox=STRICT) == []


def test_a_chroot_that_docker_allows_is_high() -> None:
    event = opened("/x", drift=Drift.ROOT)
    assert told(InvariantDrift(), event, sandbox=PLAIN) == [("root-drift", "high")]
    assert told(InvariantDrift(), event, sandbox=replace(PLAIN, capabilities=0)) == [
        ("root-drift", "critical")
    ]


def test_sudo_in_a_container_that_allows_it_is_lawful_for_it_and_its_children() -> None:
    detector = InvariantDrift()
    lawful = (
        executed("sudo", "id", path="/usr/bin/sudo", pid=50, drift=CREDENTIALS, privileged_by_file=True),
        opened("/etc/sudoers", pid=50, drift=CREDENTIALS),
        forked(51, ppid=50, drift=CREDENTIALS),
        executed("id", path="/usr/bin/id", pid=51, ppid=50, drift=CREDENTIALS),
        exited(51, ppid=50, drift=CREDENTIALS),
        exited(50, drift=CREDENTIALS),
    )
    assert told(detector, *lawful, sandbox=UNPRIVILEGED) == []


def test_a_process_that_takes_the_number_of_a_lawful_one_is_not() -> None:
    detector = InvariantDrift()
    sudo = executed("sudo", path="/usr/bin/sudo", pid=50, drift=CREDENTIALS, privileged_by_file=True)
    after = opened("/x", pid=50, drift=Drift.UID)
    assert told(detector, sudo, exited(50), after, sandbox=UNPRIVILEGED) == [("uid-drift", "critical")]


def test_a_set_uid_program_explains_no_other_namespace() -> None:
    event = executed("su", drift=CREDENTIALS | Drift.MOUNT_NAMESPACE, privileged_by_file=True)
    assert told(InvariantDrift(), event, sandbox=UNPRIVILEGED) == [("namespace-drift", "critical")]


def test_with_no_new_privileges_a_set_uid_program_explains_nothing() -> None:
    event = executed("su", drift=Drift.UID, privileged_by_file=True)
    assert told(InvariantDrift(), event, sandbox=STRICT) == [("uid-drift", "critical")]


def test_a_forgotten_sandbox_has_no_lawful_processes() -> None:
    detector = InvariantDrift()
    sudo = executed("sudo", pid=50, drift=CREDENTIALS, privileged_by_file=True)
    assert told(detector, sudo, sandbox=UNPRIVILEGED) == []
    detector.forget(sudo.sandbox)
    assert told(detector, opened("/x", pid=50, drift=Drift.UID)) == [("uid-drift", "critical")]
