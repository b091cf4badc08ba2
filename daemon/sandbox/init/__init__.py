"""The static pid 1 of every sandbox, and how it is built: `python -m daemon.sandbox.init`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("init.c")
BINARY = Path(__file__).with_name("container-kit-init")
MOUNT_POINT = "/.container-kit-init"
READY = b"\x06"
GO = b"go\n"

FLAGS = ("-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-std=gnu11")


def build(destination: Path = BINARY) -> Path:
    """Raises RuntimeError that says which package is missing."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("no C compiler: apt-get install gcc libc6-dev")
    command = [compiler, *FLAGS, "-o", str(destination), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    if done.returncode:
        raise RuntimeError(
            f"{SOURCE} does not compile; is libc6-dev installed? {done.stderr.strip()[-2000:]}"
        )
    destination.chmod(0o755)
    return destination
