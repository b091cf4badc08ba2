"""What systemd says of our units, and orders to it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SERVICE = "container-kitd.service"
SOCKET_UNIT = "container-kitd.socket"
CONFIG = Path("/etc/container-kit/config.toml")
DROP_INS = Path("/usr/share/container-kit/drop-ins")
FOLDER = Path(f"/etc/systemd/system/{SERVICE}.d")
DEADLINE_S = 120.0


def systemctl(*arguments: str) -> str:
    """Raises CalledProcessError with what it complained about."""
    return command("systemctl", *arguments)


def command(*arguments: str | Path) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def shown(name: str, unit: str = SERVICE) -> str:
    """One property of a unit (systemctl show)."""
    return systemctl("show", "--value", "-p", name, unit).strip()


def main_pid() -> int:
    return int(shown("MainPID"))


def await_that(what: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.2)


def containers() -> list[str]:
    """Ids of all that the engine has, running or not."""
    return command("docker", "ps", "--all", "--quiet", "--no-trunc").split()


@contextmanager
def settings(added: str, *drop_ins: str) -> Iterator[None]:
    """The daemon, or what came of it, with those settings and drop-ins; as it was afterwards."""
    before = CONFIG.read_text()
    CONFIG.write_text(before + added)
    for name in drop_ins:
        command("install", "-D", "-m", "644", DROP_INS / name, "-t", FOLDER)
    systemctl("daemon-reload")
    subprocess.run(["systemctl", "restart", SERVICE], check=False)
    try:
        yield
    finally:
        CONFIG.write_text(before)
        for name in drop_ins:
            (FOLDER / name).unlink()
        systemctl("daemon-reload")
        subprocess.run(["systemctl", "reset-failed", SERVICE], check=False)
        systemctl("restart", SERVICE)
