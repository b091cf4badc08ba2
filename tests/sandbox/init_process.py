"""The sandbox's init run by hand: what the engine and the daemon do around it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from daemon.sandbox import init
from daemon.sandbox.farewell import awaits_go

NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")
AS_USER = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
PATH = "/usr/bin:/bin"
DEADLINE_S = 10


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def opened(pid: int, number: int, mode: str) -> FileIO:
    """The other end of one of its pipes, as the daemon opens it."""
    return FileIO(f"/proc/{pid}/fd/{number}", mode)


def go(process: subprocess.Popen[bytes], word: bytes = init.GO) -> None:
    with opened(init_of(process), init.GO_FD, "w") as pipe:
        pipe.write(word)


def init_of(process: subprocess.Popen[bytes]) -> int:
    """Itself, or the child of the unshare that was asked for it."""
    if "unshare" not in process.args:  # type: ignore[operator]  # a list, in this file
        return process.pid
    until(lambda: children(process) != [])
    return children(process)[0]


@contextmanager
def waiting(
    program: Path,
    *command: str,
    within: Sequence[str] = (*NAMESPACE, *AS_USER),
    path: str = PATH,
    before: Callable[[], None] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Ready, without its go: the process's streams are the command's."""
    line = [*within, str(program), *command]
    with subprocess.Popen(line, env={"PATH": path}, preexec_fn=before) as process:  # noqa: PLW1509  # no threads
        try:
            pid = init_of(process)
            until(lambda: awaits_go(pid))
            process.stdin = opened(pid, init.INPUT_FD, "w")
            process.stdout = opened(pid, init.OUTPUT_FD, "r")
            process.stderr = opened(pid, init.ERRORS_FD, "r")
            yield process
        finally:
            end(process)


def run(
    program: Path,
    *command: str,
    word: bytes = init.GO,
    given: bytes = b"",
    path: str = PATH,
    within: Sequence[str] = (*NAMESPACE, *AS_USER),
) -> tuple[int, bytes, bytes]:
    """Exit status, stdout, stderr."""
    with waiting(program, *command, within=within, path=path) as process:
        go(process, word)
        output, errors = process.communicate(given, DEADLINE_S)
    return process.returncode, output, errors


@contextmanager
def started(
    program: Path, *command: str, within: Sequence[str] = (*NAMESPACE, *AS_USER)
) -> Iterator[subprocess.Popen[bytes]]:
    """Running, with its go given."""
    with waiting(program, *command, within=within) as process:
        go(process)
        yield process


def children(process: subprocess.Popen[bytes]) -> list[int]:
    """Of unshare: the init. Of the init: its command. None when that has just ended."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def end(process: subprocess.Popen[bytes]) -> None:
    """Through its child: a killed unshare or init would leave that behind."""
    if process.poll() is None:
        for pid in children(process):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def read_until(descriptor: int, wanted: bytes) -> bytes:
    found = b""
    deadline_s = time.monotonic() + DEADLINE_S
    while wanted not in found:
        left_s = deadline_s - time.monotonic()
        assert select.select([descriptor], [], [], max(0.0, left_s))[0], f"no {wanted!r} after {found!r}"
        found += os.read(descriptor, 4096)
    return found
