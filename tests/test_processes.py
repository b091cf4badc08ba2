"""The process table: lineage, bounds, no mixing of sandboxes."""

from __future__ import annotations

from dataclasses import replace

from daemon.events import FileOpened, Process, ProcessExecuted, ProcessForked
from daemon.processes import ProcessTable
from tests.events import event, file


def forked(pid: int, ppid: int, sandbox: str = "a") -> ProcessForked:
    return event(ProcessForked, sandbox=sandbox, process=Process(pid=pid, ppid=ppid))


def executed(pid: int, ppid: int, path: str, sandbox: str = "a") -> ProcessExecuted:
    return event(
        ProcessExecuted,
        sandbox=sandbox,
        process=Process(pid=pid, ppid=ppid),
        file=file(path),
        argv=(path, "-x"),
    )


def opened(pid: int, ppid: int, sandbox: str = "a") -> FileOpened:
    process = Process(pid=pid, ppid=ppid)
    return event(FileOpened, sandbox=sandbox, process=process, syscall="openat", file=file("/etc/shadow"))


def test_a_process_is_described_by_what_came_before() -> None:
    table = ProcessTable()
    for e in (executed(1, 0, "/init"), forked(2, 1), executed(2, 1, "/bin/sh"), forked(3, 2)):
        table.learn(e)
    process = table.described(opened(3, 2)).process
    assert (process.exe, process.argv) == ("/bin/sh", ("/bin/sh", "-x"))
    assert process.lineage == ("/bin/sh", "/init")
    assert process.ancestors == (2, 1)


def test_an_exec_that_comes_before_its_fork_stands() -> None:
    table = ProcessTable()
    for e in (executed(1, 0, "/init"), replace(executed(2, 1, "/bin/sh"), time_ns=20)):
        table.learn(e)
    table.learn(replace(forked(2, 1), time_ns=10))
    assert table.described(opened(2, 1)).process.exe == "/bin/sh"
    table.learn(replace(forked(2, 1), time_ns=30))
    assert table.described(opened(2, 1)).process.exe == "/init"


def test_a_pid_used_again_in_another_sandbox_is_another_process() -> None:
    table = ProcessTable()
    table.learn(executed(2, 1, "/bin/sh"))
    assert table.described(opened(2, 1, sandbox="b")).process.exe == ""


def test_lineage_ends_at_the_sandbox() -> None:
    table = ProcessTable()
    table.learn(executed(1, 0, "/usr/bin/runc", sandbox="other"))
    table.learn(executed(2, 1, "/bin/sh"))
    assert table.described(opened(2, 1)).process.lineage == ()


def test_a_loop_of_parents_ends() -> None:
    table = ProcessTable()
    table.learn(executed(2, 3, "/a"))
    table.learn(executed(3, 2, "/b"))
    assert len(table.described(opened(2, 3)).process.lineage) <= 16


def test_the_table_is_bounded() -> None:
    table = ProcessTable(remembered=10)
    for pid in range(1000):
        table.learn(forked(pid, 1))
    assert len(table) == 10
    assert table.announced(999)
    assert not table.announced(1)
