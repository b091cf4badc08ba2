"""The service manager's side: units that it accepts, and the protocols that the daemon speaks with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import ROOT, UNITS, systemd

EXPOSURE_LIMIT = 30  # tenths, as `systemd-analyze security --threshold` counts


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that exists, or their check would be about that."""
    for unit in UNITS.glob("container-kitd.*"):
        text = unit.read_text().replace("/opt/container-kit/bin/container-kitd", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")
    return tmp_path


def _analyze(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{folder}:"}
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _complaints(folder: Path) -> list[str]:
    """About our units; unknown keys only warn, and the status stays 0."""
    files = [str(folder / name) for name in ("container-kitd.service", "container-kitd.socket")]
    done = _analyze("verify", "--man=no", *files, folder=folder)
    return [line for line in (done.stdout + done.stderr).splitlines() if "container-kitd" in line]


def test_the_units_are_accepted(units: Path) -> None:
    assert _complaints(units) == []


def test_an_unknown_key_is_noticed(units: Path) -> None:
    service = units / "container-kitd.service"
    service.write_text(service.read_text().replace("ProtectHome=", "ProtectHom="))
    assert "ProtectHom" in "".join(_complaints(units))


def test_the_service_is_hardened(units: Path) -> None:
    unit = str(units / "container-kitd.service")
    done = _analyze("security", "--offline=yes", f"--threshold={EXPOSURE_LIMIT}", unit, folder=units)
    assert done.returncode == 0, done.stdout[-500:]


def test_readiness_is_a_datagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        systemd.ready()
        assert manager.recv(64) == b"READY=1"


def test_without_a_service_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert systemd.notify("READY=1") is False


def test_the_watchdog_is_half_of_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert systemd.watchdog_interval_s() == 15
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog_interval_s() is None


def test_passed_sockets_are_taken(tmp_path: Path) -> None:
    program = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "from daemon import systemd; print([s.getsockname() for s in systemd.listen_sockets()])\n"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "api.sock"))
        done = subprocess.run(
            [sys.executable, "-W", "ignore::ResourceWarning", "-c", program, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            env={**os.environ, "LISTEN_FDS": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    assert str(tmp_path / "api.sock") in done.stdout
