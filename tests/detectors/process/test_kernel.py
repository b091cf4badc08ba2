"""Calls whose mere use tells, each with its severity where it succeeded and where it did not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import Event
from detectors import Detector
from detectors.process.bpf import Bpf
from detectors.process.call_probing import CallProbing
from detectors.process.compat_calls import CompatCalls
from detectors.process.host_settings import HostSettings
from detectors.process.io_uring import IoUring
from detectors.process.kernel_log import KernelLog
from detectors.process.kernel_module import KernelModule
from detectors.process.kexec import Kexec
from detectors.process.keyring import Keyring
from detectors.process.perf_events import PerfEvents
from detectors.process.personality import Personality
from detectors.process.port_access import PortAccess
from detectors.process.reboot import Reboot
from detectors.process.root_request import RootRequest
from detectors.process.userfaultfd import Userfaultfd
from tests.detectors.making import ENOSYS, EPERM, PLAIN, STRICT, called, findings, opened, told

ROWS: list[tuple[type[Detector], str, str, str, str]] = [
    (KernelModule, "init_module", "kernel-module", "critical", "critical"),
    (KernelModule, "finit_module", "kernel-module", "critical", "critical"),
    (KernelModule, "delete_module", "kernel-module", "critical", "critical"),
    (Kexec, "kexec_load", "kernel-replacement", "critical", "high"),
    (Kexec, "kexec_file_load", "kernel-replacement", "critical", "high"),
    (PortAccess, "iopl", "port-access-call", "critical", "high"),
    (PortAccess, "ioperm", "port-access-call", "critical", "high"),
    (Bpf, "bpf", "bpf-call", "critical", "high"),
    (PerfEvents, "perf_event_open", "perf-event-opened", "high", "medium"),
    (Userfaultfd, "userfaultfd", "userfaultfd-call", "high", "medium"),
    (Keyring, "add_key", "keyring-call", "medium", "medium"),
    (Keyring, "keyctl", "keyring-call", "medium", "medium"),
    (Keyring, "request_key", "keyring-call", "medium", "medium"),
    (HostSettings, "swapon", "host-setting-call", "high", "medium"),
    (HostSettings, "acct", "host-setting-call", "high", "medium"),
    (HostSettings, "clock_settime", "host-setting-call", "high", "medium"),
    (Reboot, "reboot", "reboot-requested", "high", "medium"),
    (IoUring, "io_uring_setup", "io-uring-call", "medium", "low"),
    (KernelLog, "syslog", "kernel-log-call", "medium", "low"),
]


@pytest.mark.parametrize(("kind", "syscall", "rule", "succeeded", "otherwise"), ROWS)
def test_a_call_that_tells(
    kind: type[Detector], syscall: str, rule: str, succeeded: str, otherwise: str
) -> None:
    assert told(kind(), called(syscall, 1, result=3)) == [(rule, succeeded)]
    for result in (EPERM, ENOSYS, -22):
        assert told(kind(), called(syscall, 1, result=result), sandbox=STRICT) == [(rule, otherwise)]


@pytest.mark.parametrize("kind", list(dict.fromkeys(row[0] for row in ROWS)))
def test_other_calls_are_not_its_business(kind: type[Detector]) -> None:
    for name in ("socket", "personality", "memfd_create", "adjtimex", "getpid", ""):
        assert told(kind(), called(name)) == []


def test_evidence_holds_call_result_and_registers() -> None:
    (found,) = findings(Bpf(), [called("bpf", 5, 0x7FFF_0000, 144, result=EPERM)])
    assert found.evidence == {"syscall": "bpf", "result": EPERM, "arguments": ["0x5", "0x7fff0000", "0x90"]}


def test_the_same_call_by_the_same_program_is_the_same_finding() -> None:
    events = [called("bpf", 0, pid=7), called("bpf", 5, pid=8, result=EPERM)]
    assert len({found.identifier for found in findings(Bpf(), events)}) == 1


def test_a_file_opened_by_the_ring_is_medium() -> None:
    by_ring = replace(opened("/etc/shadow"), syscall="io_uring:openat")
    assert told(IoUring(), by_ring) == [("io-uring-call", "medium")]


# --- int 0x80


def test_the_32_bit_entry_is_high_in_a_sandbox_of_ours_and_medium_elsewhere() -> None:
    event = called("mount", 1, compat=True)
    assert told(CompatCalls(), event, sandbox=STRICT) == [("compat-entry", "high")]
    assert told(CompatCalls(), event, sandbox=PLAIN) == [("compat-entry", "medium")]


def test_the_usual_entry_is_in_order() -> None:
    assert told(CompatCalls(), called("mount", 1), opened("/etc/passwd")) == []


# --- setuid(0)


@pytest.mark.parametrize(
    ("syscall", "arguments"),
    [("setuid", (0,)), ("setreuid", (2**32 - 1, 0)), ("setresuid", (0, 0, 0)), ("setresuid32", (7, 0, 7))],
)
def test_an_unprivileged_process_that_asks_to_be_root_is_medium(
    syscall: str, arguments: tuple[int, ...]
) -> None:
    event = called(syscall, *arguments, result=EPERM, uid=65534)
    assert told(RootRequest(), event, sandbox=STRICT) == [("root-request", "medium")]


@pytest.mark.parametrize(
    "event",
    [
        called("setuid", 0, result=0, uid=0),
        called("setuid", 1000, result=EPERM, uid=65534),
        called("setresuid", 42, 42, 42, result=0, uid=0),  # apt becomes _apt
        called("setuid", 65534, 0, 0, result=EPERM, uid=65534),  # registers beyond the arguments
    ],
)
def test_becoming_somebody_else_is_in_order(event: Event) -> None:
    assert told(RootRequest(), event) == []


# --- personality (b-gdb-child)


def test_a_debugger_without_randomisation_is_low() -> None:
    assert told(Personality(), called("personality", 0x004_0000)) == [("weak-personality", "low")]
    assert told(Personality(), called("personality", 0x044_0000, result=EPERM)) == [
        ("weak-personality", "low")
    ]


@pytest.mark.parametrize("persona", [0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, 0, 8])
def test_asking_for_the_personality_is_in_order(persona: int) -> None:
    assert told(Personality(), called("personality", persona)) == []


# --- one call after another

SURVEYED = ("bpf", "mount", "unshare", "setns", "keyctl", "userfaultfd", "reboot", "swapon", "acct")


def test_many_different_refusals_are_medium() -> None:
    events = [called(name, result=EPERM, at_s=number / 10) for number, name in enumerate(SURVEYED)]
    assert told(CallProbing(), *events) == [("call-probing", "medium")] * 2


def test_the_same_refusal_over_and_over_is_in_order() -> None:
    events = [called("keyctl", result=EPERM, at_s=number / 10) for number in range(100)]
    assert told(CallProbing(), *events) == []


def test_refusals_far_apart_are_in_order() -> None:
    events = [called(name, result=EPERM, at_s=number * 5) for number, name in enumerate(SURVEYED)]
    assert told(CallProbing(), *events) == []


def test_failures_of_other_kinds_are_in_order() -> None:
    events = [called(name, result=-2, at_s=number / 10) for number, name in enumerate(SURVEYED)]
    assert told(CallProbing(), *events) == []
