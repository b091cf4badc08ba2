"""Proof that a case makes the system calls it is about: strace, attached from outside before it is let go."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.corpus.case import Attack

ATTACH_DEADLINE_S = 5.0
END_DEADLINE_S = 5.0


@contextmanager
def traced(pid: int, log: Path) -> Iterator[None]:
    """The log is whole when the block has ended."""
    if shutil.which("strace") is None:
        raise RuntimeError("strace is missing: apt-get install strace")
    command = ["strace", "-f", "-qq", "-y", "-s", "200", "-o", str(log), "-p", str(pid)]
    strace = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _await_attached(pid)
        yield
        strace.wait(END_DEADLINE_S)
    finally:
        strace.terminate()
        strace.wait()


def _await_attached(pid: int) -> None:
    deadline_s = time.monotonic() + ATTACH_DEADLINE_S
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"strace did not attach to process {pid}")
        time.sleep(0.01)


def missing(case: Attack, log: Path) -> list[str]:
    """The patterns of the case that no line has."""
    text = log.read_text(errors="replace")
    return [pattern for pattern in case.trace if not re.search(pattern, text, re.MULTILINE)]
