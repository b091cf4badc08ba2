"""Starting and stopping the daemon: what of its socket stays. No engine is needed for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import ROOT
from daemon.sandbox import init

DEADLINE_S = 20
PROGRAM = """
import os, sys
if len(sys.argv) > 1:
    os.dup2(int(sys.argv[1]), 3)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.executable, [sys.executable, "-m", "daemon"])
"""

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def built_init() -> None:
    if not init.BINARY.is_file():
        init.build()


def run_until_ready_then_stop(folder: Path, *passed: int) -> int:
    """Its exit status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(DEADLINE_S)
        environment = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": str(folder / "notify"),
            "CONTAINER_KIT_SOCKET": str(folder / "api.sock"),
            "CONTAINER_KIT_STATE_DIR": str(folder / "state"),
        }
        command = [sys.executable, "-c", PROGRAM, *map(str, passed)]
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=passed, stderr=subprocess.DEVNULL
        ) as child:
            try:
                assert manager.recv(64) == b"READY=1"
                child.send_signal(signal.SIGTERM)
                return child.wait(DEADLINE_S)
            finally:
                child.kill()


def test_its_own_socket_goes_with_it(tmp_path: Path) -> None:
    assert run_until_ready_then_stop(tmp_path) == 0
    assert not (tmp_path / "api.sock").exists()


def test_a_passed_socket_stays_and_goes_on_listening(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unit, socket.socket(socket.AF_UNIX) as client:
        unit.bind(str(tmp_path / "api.sock"))
        unit.listen()
        assert run_until_ready_then_stop(tmp_path, unit.fileno()) == 0
        client.connect(str(tmp_path / "api.sock"))
