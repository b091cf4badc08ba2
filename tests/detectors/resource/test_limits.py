"""What a sandbox uses up: processes, memory, storage, descriptors, CPU."""

from __future__ import annotations

import errno

import pytest

from detectors.resource.cpu_limit import CpuLimit
from detectors.resource.memory_limit import MemoryLimit
from detectors.resource.open_files import OpenFiles
from detectors.resource.process_limit import MANY, ProcessLimit
from detectors.resource.storage_limit import StorageLimit
from tests.detectors.making import EAGAIN, called, exited, forked, limit, namespaces, opened, told

EMFILE, ENFILE, ENOSPC, EDQUOT = -errno.EMFILE, -errno.ENFILE, -errno.ENOSPC, -errno.EDQUOT


@pytest.mark.parametrize(
    ("detector", "kind", "expected"),
    [
        (ProcessLimit, "pids", ("process-limit", "high")),  # res-forkbomb
        (MemoryLimit, "memory", ("memory-limit", "medium")),  # res-memory-bomb
        (StorageLimit, "workspace", ("storage-limit", "low")),
        (CpuLimit, "cpu", ("cpu-limit", "low")),
    ],
)
def test_each_limit_is_one_detectors_business(detector: type, kind: str, expected: tuple[str, str]) -> None:
    kinds = ("pids", "memory", "workspace", "cpu", "unheard of")
    assert told(detector(), *(limit(each) for each in kinds)) == [expected]
    assert told(detector(), limit(kind)) == [expected]


@pytest.mark.parametrize("syscall", ["fork", "vfork", "clone", "clone3"])
def test_a_fork_that_the_limit_refused_is_high(syscall: str) -> None:
    """res-forkbomb, seen by the kernel's sensor."""
    assert told(ProcessLimit(), called(syscall, result=EAGAIN)) == [("process-limit", "high")]
    assert told(ProcessLimit(), namespaces(syscall, 0, result=EAGAIN)) == [("process-limit", "high")]


def test_forks_that_work_and_reads_that_would_block_are_in_order() -> None:
    assert told(ProcessLimit(), called("clone", result=17), called("read", result=EAGAIN)) == []


def test_processes_that_pile_up_are_told_once() -> None:
    events = [forked(pid) for pid in range(1000, 1000 + MANY)]
    assert told(ProcessLimit(), *events) == [("process-pile", "high")]


def test_processes_that_end_do_not_pile_up() -> None:
    """b-shell-text has hundreds of short ones."""
    events = [event for pid in range(1000, 4000) for event in (forked(pid), exited(pid))]
    assert told(ProcessLimit(), *events) == []


def test_an_ended_sandboxs_processes_do_not_count() -> None:
    detector = ProcessLimit()
    first = [forked(pid) for pid in range(MANY - 1)]
    assert told(detector, *first) == []
    detector.forget(first[0].sandbox)
    assert told(detector, forked(5000)) == []


@pytest.mark.parametrize("result", [ENOSPC, EDQUOT])
def test_a_write_to_a_full_file_system_is_low(result: int) -> None:
    """res-disk-fill."""
    assert told(StorageLimit(), called("write", 3, 0, 4096, result=result)) == [("storage-limit", "low")]
    assert told(StorageLimit(), opened("/tmp/x", result=result)) == [("storage-limit", "low")]


def test_writes_that_fail_otherwise_are_in_order() -> None:
    assert told(StorageLimit(), called("write", result=-errno.EPIPE), called("write", result=4096)) == []


def test_the_processs_descriptors_are_low_and_the_hosts_are_high() -> None:
    assert told(OpenFiles(), called("socket", result=EMFILE)) == [("open-files-limit", "low")]
    assert told(OpenFiles(), opened("/x", result=ENFILE)) == [("open-files-limit", "high")]


def test_opens_that_work_or_fail_otherwise_are_in_order() -> None:
    assert told(OpenFiles(), opened("/x"), opened("/x", result=-errno.ENOENT)) == []
