"""The static pid 1 of every sandbox, and how it is built: `python -m daemon.sandbox.init`.

Imports nothing but the standard library: the wheel's build loads this file where no dependency is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("init.c")
BINARY = Path(__file__).with_name("container-kit-init")
MOUNT_POINT = "/.container-kit-init"
GO = b"go\n"
INPUT_FD, OUTPUT_FD, ERRORS_FD, GO_FD, FAREWELL_FD = range(11, 16)
"""As init.c has them."""

FLAGS = ("-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-std=gnu11")


def build(destination: Path = BINARY) -> Path:
    """Returns `destination`, which is the old program or the new one at every moment, and the old one where
    they are the same: who launches meanwhile compares what runs with what is there.

    Raises RuntimeError that names the missing package, or says what the compiler said.
    """
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".init-") as folder:
        program = Path(folder) / destination.name
        _compile(program)
        program.chmod(0o755)
        if destination.exists() and destination.read_bytes() == program.read_bytes():
            return destination
        program.replace(destination)  # never written into: running sandboxes have the old one mounted
    return destination


def _compile(program: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("no C compiler: apt-get install gcc libc6-dev")
    command = [compiler, *FLAGS, "-o", str(program), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    if done.returncode:
        raise RuntimeError(_reason(done.stderr))


def _reason(complaint: str) -> str:
    if "cannot find -lc" in complaint or "No such file or directory" in complaint:
        return (
            f"the C library's headers or its static form are missing: apt-get install libc6-dev\n{complaint}"
        )
    return f"{SOURCE} does not compile:\n{complaint.strip()[-2000:]}"
