"""Into other processes: tracing, their memory, their descriptors, libraries put into them."""

from __future__ import annotations

import pytest

from daemon.events import Event
from detectors.process.masquerade import Masquerade
from detectors.process.preload import Preload
from detectors.process.privileged_program import PrivilegedProgram
from detectors.process.process_memory import ProcessMemory
from detectors.process.process_probing import ProcessProbing
from detectors.process.tracing import Tracing
from detectors.process.writable_code import WritableCode
from tests.detectors.making import (
    EPERM,
    STRICT,
    connected,
    executed,
    exited,
    fresh,
    mapped,
    opened,
    told,
    touched,
)

ATTACH, SEIZE, POKEDATA, CONT, TRACEME = 16, 0x4206, 5, 7, 0


# --- ptrace (proc-ptrace-inject; b-gdb-child)


@pytest.mark.parametrize("request_number", [ATTACH, SEIZE, POKEDATA, 0x4205])
def test_tracing_a_stranger_is_high_and_milder_if_refused(request_number: int) -> None:
    assert told(Tracing(), touched("ptrace", 17, request=request_number)) == [("process-tracing", "high")]
    refused = touched("ptrace", 17, request=request_number, result=EPERM)
    assert told(Tracing(), refused, sandbox=STRICT) == [("process-tracing", "medium")]


def test_a_debugger_and_its_child_are_in_order() -> None:
    events = (
        touched("ptrace", 0, request=TRACEME),
        touched("ptrace", 18, request=POKEDATA, descendant=True),
        touched("ptrace", 18, request=CONT, descendant=True),
        touched("ptrace", 18, request=ATTACH, descendant=True),
    )
    assert told(Tracing(), *events) == []


def test_other_calls_on_processes_are_not_tracing() -> None:
    assert told(Tracing(), touched("kcmp", 17)) == []


# --- process_vm_writev (proc-vm-writev writes into its own child)


@pytest.mark.parametrize(
    ("syscall", "descendant", "result", "expected"),
    [
        ("process_vm_writev", False, 8, ("process-memory-write", "high")),
        ("process_vm_writev", True, 8, ("process-memory-write", "medium")),
        ("process_vm_writev", False, EPERM, ("process-memory-write", "medium")),
        ("process_vm_writev", True, EPERM, ("process-memory-write", "medium")),
        ("process_vm_readv", False, 8, ("process-memory-read", "medium")),
        ("process_vm_readv", False, EPERM, ("process-memory-read", "medium")),
        ("process_vm_readv", True, 8, ("process-memory-read", "low")),
    ],
)
def test_memory_of_another_process(
    syscall: str, descendant: bool, result: int, expected: tuple[str, str]
) -> None:
    event = touched(syscall, 17, result=result, descendant=descendant)
    assert told(ProcessMemory(), event) == [expected]


def test_ptrace_is_not_its_business() -> None:
    assert told(ProcessMemory(), touched("ptrace", 17, request=POKEDATA)) == []
    assert told(ProcessProbing(), touched("ptrace", 17, request=POKEDATA)) == []


@pytest.mark.parametrize(
    ("syscall", "descendant", "result", "expected"),
    [
        ("pidfd_getfd", False, 5, ("descriptor-theft", "high")),
        ("pidfd_getfd", False, EPERM, ("descriptor-theft", "medium")),
        ("pidfd_getfd", True, 5, ("descriptor-theft", "low")),
        ("kcmp", False, 0, ("object-comparison", "medium")),
        ("kcmp", False, EPERM, ("object-comparison", "medium")),
        ("kcmp", True, 0, ("object-comparison", "low")),
    ],
)
def test_descriptors_and_objects_of_another_process(
    syscall: str, descendant: bool, result: int, expected: tuple[str, str]
) -> None:
    event = touched(syscall, 17, result=result, descendant=descendant)
    assert told(ProcessProbing(), event) == [expected]


# --- LD_PRELOAD (proc-ldpreload)


@pytest.mark.parametrize(
    "preloads",
    [
        ("LD_PRELOAD=/tmp/.lib.so",),
        ("LD_AUDIT=/tmp/.lib.so",),
        ("LD_PRELOAD=/usr/lib/libc.so.6 /dev/shm/x",),
        ("LD_PRELOAD=libm.so.6:./x.so",),
        ("LD_PRELOAD=/usr/lib/../../tmp/x.so",),
        ("LD_PRELOAD=/proc/self/fd/3",),
        ("LD_PRELOAD=x.so", "LD_LIBRARY_PATH=/tmp"),
        ("LD_LIBRARY_PATH=/usr/lib:/workspace", "LD_PRELOAD=x.so"),
    ],
)
def test_a_library_from_a_writable_place_is_medium(preloads: tuple[str, ...]) -> None:
    assert told(Preload(), executed("id", "-u", preloads=preloads)) == [("library-preload", "medium")]


@pytest.mark.parametrize(
    "preloads",
    [
        (),
        ("LD_PRELOAD=",),
        ("LD_PRELOAD=libjemalloc.so.2",),
        ("LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",),
        ("LD_PRELOAD=/opt/bitnami/common/lib/libnss_wrapper.so",),
        ("LD_LIBRARY_PATH=/tmp/build/lib",),
        ("LD_PRELOAD=libm.so.6", "LD_LIBRARY_PATH=/usr/local/lib"),
    ],
)
def test_settings_of_an_image_are_in_order(preloads: tuple[str, ...]) -> None:
    assert told(Preload(), executed("id", "-u", preloads=preloads)) == []


def test_a_fresh_library_in_the_images_folder_is_found_when_it_is_mapped() -> None:
    events = (
        executed("id", preloads=("LD_PRELOAD=/usr/lib/libevil.so",)),
        mapped(fresh("/usr/lib/libother.so"), execute=True, fresh=True),
        mapped(fresh("/usr/lib/libevil.so"), execute=True, fresh=True),
    )
    assert told(Preload(), *events) == [("library-preload", "medium")]


def test_another_program_of_the_same_process_is_judged_by_its_own_environment() -> None:
    preload = executed("id", preloads=("LD_PRELOAD=/usr/lib/libevil.so",))
    later = mapped(fresh("/usr/lib/libevil.so"), execute=True, fresh=True)
    assert told(Preload(), preload, executed("id"), later) == []
    assert told(Preload(), preload, exited(100), later) == []


# --- code that was data (b-node-http)


def test_writable_code_is_low() -> None:
    assert told(WritableCode(), mapped(None, write=True, execute=True)) == [("writable-code", "low")]


def test_code_alone_is_in_order() -> None:
    assert told(WritableCode(), mapped(fresh("/tmp/x.so"), execute=True)) == []


# --- set-uid programs


def test_a_set_uid_program_of_the_image_is_low() -> None:
    event = executed("su", path="/bin/su", privileged_by_file=True)
    assert told(PrivilegedProgram(), event) == [("privileged-program", "low")]


def test_one_that_was_dropped_or_that_should_count_for_nothing_is_high() -> None:
    dropped = executed("x", file=fresh("/tmp/x"), fresh=True, privileged_by_file=True)
    assert told(PrivilegedProgram(), dropped) == [("privileged-program", "high")]
    ignored = executed("su", path="/bin/su", privileged_by_file=True)
    assert told(PrivilegedProgram(), ignored, sandbox=STRICT) == [("privileged-program", "high")]


@pytest.mark.parametrize("argv", [(), ("",)])
def test_one_without_arguments_is_high(argv: tuple[str, ...]) -> None:
    """CVE-2021-4034."""
    event = executed(*argv, path="/usr/bin/pkexec", privileged_by_file=True)
    assert told(PrivilegedProgram(), event) == [
        ("privileged-program", "low"),
        ("privileged-program-without-arguments", "high"),
    ]


def test_an_ordinary_program_is_in_order() -> None:
    assert told(PrivilegedProgram(), executed("ls", path="/bin/ls"), executed(path="/bin/ls")) == []


# --- names


@pytest.mark.parametrize(
    "event",
    [
        executed("[kworker/u4:1]", path="/tmp/x"),
        executed("kworker/0:2", path="/tmp/x"),
        connected("203.0.113.5", 443, comm="kworker/1:0"),
    ],
)
def test_a_program_that_calls_itself_a_kernel_thread_is_medium(event: Event) -> None:
    assert told(Masquerade(), event) == [("kernel-thread-masquerade", "medium")]


@pytest.mark.parametrize(
    "event",
    [executed("[", "-e", "/.dockerenv", "]", path="/bin/["), executed("sh"), opened("/x", comm="kthreadd")],
)
def test_the_test_command_is_in_order(event: Event) -> None:
    assert told(Masquerade(), event) == []
