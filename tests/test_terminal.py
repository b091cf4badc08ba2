"""`container-kit run -i` and `-it`, on a real terminal, with a real daemon and a real sandbox."""

from __future__ import annotations

import fcntl
import os
import pty
import secrets
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from daemon import ROOT
from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

DEADLINE_S = 30.0


def program(running: Daemon) -> list[str]:
    return [sys.executable, "-c", "from daemon.cli import main; main()", "--socket", str(running.socket)]


class Terminal:
    """The user's side of a terminal on which a program runs."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.master = master
        self.process = process
        self.seen = b""

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: bytes) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            assert time.monotonic() < deadline_s, self.seen
            self._read()

    def exit_code(self) -> int:
        """Reads on until the program has ended: who is not read from cannot write."""
        deadline_s = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline_s, self.seen
            self._read()
        self._read()
        return self.process.returncode

    def _read(self) -> None:
        if select.select([self.master], [], [], 0.1)[0]:
            self.seen += os.read(self.master, 65536)


@contextmanager
def terminal(running: Daemon, *arguments: str) -> Iterator[Terminal]:
    """The client in a session of its own, with a terminal of 24 x 80."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        ["setsid", "--ctty", *program(running), *arguments],
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    try:
        yield Terminal(master, process)
        assert termios.tcgetattr(slave) == before  # raw mode ended with the program
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def sandboxes(running: Daemon, session: str) -> list[Any]:
    items = running.request("GET", "/v1/sandboxes?limit=1000").json()["items"]
    return [item for item in items if item["session_id"] == session]


@pytest.mark.parametrize("code", [0, 7])
def test_the_exit_code_passes(running: Daemon, image: str, code: int) -> None:
    with terminal(running, "run", "-it", image, "sh", "-c", f"exit {code}") as user:
        assert user.exit_code() == code


def test_keys_go_in_and_come_back_once(running: Daemon, image: str) -> None:
    """The sandbox's terminal echoes; the user's own must not."""
    with terminal(running, "run", "-it", image, "sh", "-c", "echo up; cat") as user:
        user.until(b"up")
        user.type(b"hello\r")
        user.until(b"hello\r\nhello\r\n")
        user.type(b"\x04")
        assert user.exit_code() == 0
        assert user.seen.count(b"hello") == 2


def test_the_interrupt_key_is_the_programs(running: Daemon, image: str) -> None:
    script = "trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.1; done"
    with terminal(running, "run", "-it", image, "sh", "-c", script) as user:
        user.until(b"up")
        user.type(b"\x03")
        assert user.exit_code() == 3
        assert b"caught" in user.seen


def test_the_size_is_the_users_and_follows_it(running: Daemon, image: str) -> None:
    script = "trap 'stty size' WINCH; echo up; stty size; while :; do sleep 0.1; done"
    with terminal(running, "run", "-it", image, "sh", "-c", script) as user:
        user.until(b"24 80")
        user.resize(50, 132)
        user.until(b"50 132")
        user.type(b"\x03")
        assert user.exit_code() == 130


def test_a_shell_knows_the_size_from_its_first_command(running: Daemon, image: str) -> None:
    with terminal(running, "run", "-it", image, "sh") as user:
        user.until(b"$ ")
        user.type(b"stty size; exit 5\r")
        assert user.exit_code() == 5
        assert b"24 80" in user.seen


def test_what_is_hung_up_runs_on_and_can_be_attached_again(running: Daemon, image: str) -> None:
    session = f"hung-up-{secrets.token_hex(4)}"
    script = "while read line; do echo got $line; [ $line = end ] && exit 6; done"
    with terminal(running, "run", "-it", "--session", session, image, "sh", "-c", script) as user:
        user.type(b"one\r")
        user.until(b"got one")
        os.kill(user.process.pid, signal.SIGHUP)
        assert user.exit_code() == -signal.SIGHUP
    (sandbox,) = sandboxes(running, session)
    assert sandbox["state"] == "running"
    with terminal(running, "attach", sandbox["id"]) as user:
        user.until(b"got one")
        user.type(b"end\r")
        assert user.exit_code() == 6


def test_pipes_carry_bytes_as_they_are(running: Daemon, image: str) -> None:
    data = secrets.token_bytes(3 << 20)
    command = [*program(running), "run", "-i", "--output", "4m", image, "sh", "-c", "cat; exit 9"]
    done = subprocess.run(command, cwd=ROOT, input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 9
    assert done.stdout == data


def test_a_terminal_is_asked_for_only_where_there_is_one(running: Daemon, image: str) -> None:
    command = [*program(running), "run", "-it", image, "true"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 125
    assert b"stdin is not a terminal" in done.stderr


def test_interrupted_without_a_terminal_it_takes_the_sandbox_along(running: Daemon, image: str) -> None:
    session = f"interrupted-{secrets.token_hex(4)}"
    command = [*program(running), "run", "-i", "--session", session, image, "sh", "-c", "echo up; sleep 60"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    (sandbox,) = sandboxes(running, session)
    result = running.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
    assert result["killed"] is True


def test_what_is_not_interactive_cannot_be_attached(running: Daemon, image: str) -> None:
    sandbox = running.launch(image, "sleep", "20")
    command = [*program(running), "attach", sandbox["id"]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "launch it with interactive: true" in done.stderr
    running.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")
