"""Programs that are not the image's, and places that programs are not run from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import Drift, Event, File
from daemon.expectation import ExpectedMount
from detectors.process.decoded_payload import DecodedPayload
from detectors.process.fileless_execution import FilelessExecution
from detectors.process.foreign_execution import ForeignExecution
from detectors.process.fresh_execution import FreshExecution
from detectors.process.fresh_library import FreshLibrary
from detectors.process.loader_execution import LoaderExecution
from detectors.process.noexec_execution import NoexecExecution
from detectors.process.refused_execution import RefusedExecution
from detectors.process.shared_memory_execution import SharedMemoryExecution
from tests.detectors.making import (
    EACCES,
    EPERM,
    HOST_DEVICE,
    PLAIN,
    ROOT_DEVICE,
    SHM_DEVICE,
    STRICT,
    TMP_DEVICE,
    called,
    chmodded,
    executed,
    fresh,
    mapped,
    told,
)

DROPPED = fresh("/tmp/.x11/dbus")
MEMFD = File(path="/memfd:", device=1, inode=9, filesystem="tmpfs", links=0)


# --- fresh files (proc-drop-exec; b-gcc-run does the same)


def test_a_fresh_program_is_low_where_the_workload_may_run_its_own() -> None:
    event = executed("/tmp/.x11/dbus", file=DROPPED, fresh=True)
    assert told(FreshExecution(), event) == [("fresh-execution", "low")]


def test_a_fresh_program_is_high_where_it_may_not() -> None:
    event = executed("sh", "-c", "echo ran", file=DROPPED, fresh=True)
    assert told(FreshExecution(), event, sandbox=STRICT) == [("fresh-execution", "high")]


def test_a_program_of_the_image_is_in_order() -> None:
    assert told(FreshExecution(), executed("/bin/busybox"), sandbox=STRICT) == []


def test_a_fresh_library_is_low_or_high_likewise() -> None:
    event = mapped(fresh("/tmp/v/lib/_speedups.so"), execute=True, fresh=True)
    assert told(FreshLibrary(), event) == [("fresh-library", "low")]
    assert told(FreshLibrary(), event, sandbox=STRICT) == [("fresh-library", "high")]


def test_a_mapping_that_noexec_refused_is_low() -> None:
    event = mapped(fresh("/tmp/x.so"), execute=True, fresh=True, result=EPERM)
    assert told(FreshLibrary(), event, sandbox=STRICT) == [("fresh-library", "low")]


def test_a_just_in_time_compiler_on_a_memfd_is_low() -> None:
    assert told(FreshLibrary(), mapped(MEMFD, execute=True, fresh=True), sandbox=STRICT) == [
        ("fresh-library", "low")
    ]


def test_data_mapped_from_a_fresh_file_is_in_order() -> None:
    assert told(FreshLibrary(), mapped(fresh("/tmp/a.db"), write=True, fresh=True), sandbox=STRICT) == []


# --- without a file (proc-memfd-exec)


@pytest.mark.parametrize(
    "file",
    [
        MEMFD,
        File(path="/memfd:python3 (deleted)"),
        fresh("/tmp/x (deleted)", links=0),
        fresh("/python3", links=0),
    ],
)
def test_a_program_without_a_file_is_high_whatever_it_is_called(file: File) -> None:
    event = executed("python3", "x", file=file, fresh=True)
    assert told(FilelessExecution(), event) == [("fileless-execution", "high")]
    assert told(FreshExecution(), event) == [("fresh-execution", "low")] * bool(file.links)


def test_a_file_with_a_name_is_not_fileless() -> None:
    assert told(FilelessExecution(), executed("python3", path="/usr/bin/python3.11")) == []
    assert told(FilelessExecution(), executed("x", path="/opt/memfd:notes")) == []


# --- /dev/shm (proc-exec-devshm)


@pytest.mark.parametrize(
    "event",
    [
        executed("/dev/shm/id"),
        executed("./id", path="/dev/shm/id"),
        executed("id", file=fresh("/mnt/other-name", device=SHM_DEVICE)),
        executed("/bin/sh", "-e", "/dev/shm/x.sh"),
        executed("python3", "/dev/shm/x.py", path="/usr/bin/python3.11"),
        chmodded("/dev/shm/id", 0o755),
        chmodded("/dev/shm/id", 0o100, result=EPERM),
    ],
)
def test_programs_in_shared_memory_are_medium(event: Event) -> None:
    assert told(SharedMemoryExecution(), event) == [("shared-memory-execution", "medium")]


@pytest.mark.parametrize(
    "event",
    [
        executed("/bin/rm", "/dev/shm/sem.mp-x"),
        executed("cp", "/bin/busybox", "/dev/shm/id", path="/bin/busybox"),
        executed("sh", "-c", "ls /dev/shm", path="/bin/sh"),
        executed("/dev/shmem/x"),
        chmodded("/dev/shm/sem.iu9SZf", 0o600),
        chmodded("/tmp/x", 0o755),
    ],
)
def test_data_in_shared_memory_is_in_order(event: Event) -> None:
    """b-mp-pool keeps semaphores there."""
    assert told(SharedMemoryExecution(), event) == []


# --- mounts that were something else


def test_a_program_from_a_noexec_mount_is_high() -> None:
    event = executed("/tmp/x", file=fresh("/tmp/x", device=TMP_DEVICE))
    assert told(NoexecExecution(), event, sandbox=STRICT) == [("noexec-execution", "high")]


@pytest.mark.parametrize(
    "event",
    [
        executed("/bin/sh"),
        executed("x", file=MEMFD),
        executed("/tmp/x", drift=Drift.MOUNT_NAMESPACE),
        executed("/tmp/x", file=File(path="/tmp/x", resolved=False)),
    ],
)
def test_elsewhere_or_by_paths_that_mean_something_else_it_is_not(event: Event) -> None:
    assert told(NoexecExecution(), event, sandbox=STRICT) == []


@pytest.mark.parametrize(
    "file",
    [
        File(path="/usr/bin/bash", device=HOST_DEVICE, inode=7),  # CVE-2024-21626: cwd is a leaked descriptor
        File(path="/usr/sbin/runc", device=HOST_DEVICE, inode=8),  # CVE-2019-5736: /proc/self/exe
        File(path="/x", device=99, inode=9),  # on a tmpfs that it mounted itself
    ],
)
def test_a_program_from_another_device_than_its_mount_is_high(file: File) -> None:
    assert told(ForeignExecution(), executed("bash", file=file)) == [("foreign-execution", "high")]


def test_programs_from_where_they_should_be_are_in_order() -> None:
    case = ExpectedMount(target="/case", source="/srv/case", filesystem="ext4", device=HOST_DEVICE)
    sandbox = replace(PLAIN, mounts=(*PLAIN.mounts, case))
    at_home = File(path="/case/attack", device=HOST_DEVICE, inode=3)
    assert told(ForeignExecution(), executed("/bin/sh"), executed("a", file=at_home), sandbox=sandbox) == []


def test_unknown_devices_are_not_judged() -> None:
    unknown = replace(PLAIN, mounts=(ExpectedMount(target="/", source="", filesystem="overlay"),))
    elsewhere = executed("bash", file=File(path="/usr/bin/bash", device=HOST_DEVICE))
    assert told(ForeignExecution(), elsewhere, sandbox=unknown) == []
    assert told(ForeignExecution(), executed("bash", file=File(path="/usr/bin/bash"))) == []


# --- refused, and by the loader


def test_a_refused_execution_is_low() -> None:
    assert told(RefusedExecution(), called("execve", 1, 2, 3, result=EACCES), sandbox=STRICT) == [
        ("refused-execution", "low")
    ]


def test_a_search_along_path_is_in_order() -> None:
    assert told(RefusedExecution(), called("execve", result=-2), called("execve", result=0)) == []


def test_the_loader_run_by_hand_is_low_and_medium_from_a_noexec_mount() -> None:
    event = executed("/lib64/ld-linux-x86-64.so.2", "/tmp/x")
    assert told(LoaderExecution(), event) == [("loader-execution", "low")]
    assert told(LoaderExecution(), event, sandbox=STRICT) == [("loader-execution", "medium")]
    assert told(LoaderExecution(), executed("x", "/tmp/x", path="/lib/ld-musl-x86_64.so.1")) != []
    assert told(LoaderExecution(), executed("x", "/tmp/x", path="/usr/lib/ld-2.31.so")) != []


@pytest.mark.parametrize(
    "event",
    [
        executed("/lib64/ld-linux-x86-64.so.2", "--version"),
        executed("ld", "-o", "a.out", path="/usr/bin/x86_64-linux-gnu-ld.bfd"),
        executed("ldd", "/bin/ls", path="/usr/bin/ldd"),
        executed("ldconfig", "-p", path="/sbin/ldconfig"),
    ],
)
def test_other_programs_named_alike_are_in_order(event: Event) -> None:
    assert told(LoaderExecution(), event) == []


# --- decoded payloads (proc-drop-exec)


@pytest.mark.parametrize(
    "decoder",
    [
        ("base64", "-d", "/tmp/.x11/b"),
        ("busybox", "base64", "-d"),
        ("/usr/bin/base64", "--decode", "x"),
        ("openssl", "enc", "-d", "-aes-256-cbc", "-out", "x"),
        ("xxd", "-r", "-p", "x"),
        ("uudecode", "x"),
    ],
)
def test_a_decoder_and_then_a_fresh_program_is_medium(decoder: tuple[str, ...]) -> None:
    events = (
        executed(*decoder, path="/bin/x", pid=7, ppid=1),
        executed("chmod", "755", "/tmp/.x11/dbus", path="/bin/busybox", pid=8, ppid=1),
        executed("dbus", file=DROPPED, fresh=True, pid=9, ppid=1, at_s=2),
    )
    assert told(DecodedPayload(), *events) == [("decoded-payload", "medium")]


def test_the_shell_may_become_the_program() -> None:
    events = (executed("base64", "-d", pid=7, ppid=1), executed("x", file=DROPPED, fresh=True, pid=1, ppid=0))
    assert told(DecodedPayload(), *events) == [("decoded-payload", "medium")]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_decoder_piped_into_a_shell_is_medium_whoever_starts_first(order: tuple[int, int]) -> None:
    events = (
        executed("base64", "-d", pid=7, ppid=1, at_s=order[0] / 100),
        executed("sh", path="/bin/busybox", pid=8, ppid=1, at_s=order[1] / 100),
    )
    in_time = sorted(events, key=lambda event: event.time_ns)
    assert told(DecodedPayload(), *in_time) == [("decoded-payload", "medium")]


@pytest.mark.parametrize(
    "argv",
    [
        ("sh", "-c", "echo aWQ= | base64 -d | sh"),
        ("bash", "-c", "openssl base64 -d -in x | /bin/bash"),
        ("python3", "-c", "import base64;exec(base64.b64decode('aWQ='))"),
        ("perl", "-e", "eval decode_base64('aWQ=')"),
    ],
)
def test_the_line_that_says_it_all_is_medium(argv: tuple[str, ...]) -> None:
    assert told(DecodedPayload(), executed(*argv)) == [("decoded-payload", "medium")]


@pytest.mark.parametrize(
    "events",
    [
        (
            executed("ld", "-o", "p", path="/usr/bin/ld", pid=7),
            executed("./p", file=DROPPED, fresh=True, pid=8),
        ),
        (executed("base64", "/bin/busybox", pid=7), executed("./p", file=DROPPED, fresh=True, pid=8)),
        (executed("base64", "-d", pid=7, ppid=1), executed("p", file=DROPPED, fresh=True, pid=8, ppid=2)),
        (
            executed("base64", "-d", pid=7, ppid=1),
            executed("p", file=DROPPED, fresh=True, ppid=1, at_s=60),
        ),
        (executed("base64", "-d", pid=7, ppid=1), executed("cat", pid=8, ppid=1)),
        (executed("sh", pid=8, ppid=1), executed("base64", "-d", pid=7, ppid=1, at_s=5)),
        (executed("base64", "-d", pid=7, ppid=1), executed("sh", "run.sh", pid=8, ppid=1)),
        (executed("sh", "-c", "base64 -d x > picture.png; sh build.sh"),),
        (executed("python3", "-c", "import base64; print(base64.b64decode('aWQ='))"),),
    ],
)
def test_what_only_looks_alike_is_in_order(events: tuple[Event, ...]) -> None:
    assert told(DecodedPayload(), *events) == []


def test_devices_of_the_two_sandboxes_differ() -> None:
    """The tests above compare them."""
    assert len({ROOT_DEVICE, TMP_DEVICE, SHM_DEVICE, HOST_DEVICE}) == 4
