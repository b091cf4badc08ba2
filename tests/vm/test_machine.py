"""The test machine itself: what comes back from it, and how its own failures look."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from daemon import ROOT
from tests.vm.image import KERNELS
from tests.vm.machine import DeadlineExceeded, Job, MachineError, run

pytestmark = pytest.mark.vm

DEADLINE_S = 300


@pytest.mark.parametrize("kernel", KERNELS)
def test_files_go_in_and_output_status_and_results_come_out(kernel: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("content\n")
    command = "cat file; uname -r; echo last >&2; echo result >$OUT/result; exit 7"
    output: list[bytes] = []
    job = Job(tmp_path / "in", command, DEADLINE_S, kernel, tmp_path / "out")
    assert run(job, output.append) == 7
    first, release, last = b"".join(output).decode().splitlines()
    assert (first, last) == ("content", "last")
    assert release.startswith(f"{kernel}.")
    assert (tmp_path / "out/result").read_text() == "result\n"


def test_a_kernel_that_panics_is_not_the_command_s_failure(tmp_path: Path) -> None:
    output: list[bytes] = []
    with pytest.raises(MachineError, match="Kernel panic"):
        run(Job(tmp_path, "echo begun; echo c >/proc/sysrq-trigger", DEADLINE_S), output.append)
    assert b"begun\n" in b"".join(output)


def test_at_the_deadline_it_is_switched_off(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded, match="not done within 3 s"):
        run(Job(tmp_path, "sleep 600", 3), lambda _: None)


@pytest.mark.parametrize(("deadline", "status"), [("300", 3), ("3", 124)])
def test_from_the_command_line(tmp_path: Path, deadline: str, status: int) -> None:
    (tmp_path / "file").write_text("content\n")
    command = [sys.executable, "-m", "tests.vm.run", "--deadline", deadline, str(tmp_path / "file")]
    done = subprocess.run(
        [*command, "cat file; exit 3"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == status
    assert done.stdout == ("content\n" if status == 3 else "")
