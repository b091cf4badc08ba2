"""The sandbox's init, as a process of its own: its handshake, and that it gives nothing away."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from daemon.sandbox import init

PATH = {"PATH": "/usr/bin:/bin"}
DEADLINE_S = 20


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init.build(tmp_path_factory.mktemp("init") / "init")


def run(program: Path, *command: str, given: bytes) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [program, *command], input=given, capture_output=True, check=False, env=PATH, timeout=DEADLINE_S
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("given", [b"", b"g", b"no\n", b"GO\n", b"go \n", b"\ngo\n"])
def test_nothing_but_the_go_lets_the_command_run(program: Path, given: bytes) -> None:
    assert run(program, "echo", "ran", given=given) == (125, init.READY, b"")


def test_what_follows_the_go_is_the_commands_to_the_last_byte(program: Path) -> None:
    content = bytes(range(256)) * 1000
    assert run(program, "cat", given=init.GO + content) == (0, init.READY + content, b"")


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_status_is_the_commands(program: Path, status: int) -> None:
    assert run(program, "sh", "-c", f"exit {status}", given=init.GO)[0] == status


@pytest.mark.parametrize("number", [9, 15, 11])
def test_a_signal_counts_from_128(program: Path, number: int) -> None:
    assert run(program, "sh", "-c", f"kill -{number} $$", given=init.GO)[0] == 128 + number


@pytest.mark.parametrize(("name", "status"), [("no-such-program", 127), ("/etc", 126), ("/etc/passwd", 126)])
def test_what_cannot_run_is_said(program: Path, name: str, status: int) -> None:
    code, _, errors = run(program, name, given=init.GO)
    assert code == status
    assert errors.startswith(f"container-kit: cannot run {name}: ".encode())
