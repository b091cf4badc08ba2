"""The sensor's kernel side, and how it is built: `python -m daemon.sensors.bpf`.

Imports nothing but the standard library: the wheel's build loads this file where no dependency is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
SENSOR = FOLDER / "sensor.bpf.o"
LSM = FOLDER / "lsm.bpf.o"
OBJECTS = (SENSOR, LSM)

FLAGS = ("-g", "-O2", "-mcpu=v3", "-target", "bpf", "-D__TARGET_ARCH_x86", "-std=gnu11")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-unknown-attributes")


def build(folder: Path = FOLDER) -> list[Path]:
    """Each object is the old one or the new one at every moment. Needs no kernel header and no running BPF.

    Raises RuntimeError that names the missing package, or says what the compiler said.
    """
    return [
        _build(FOLDER / destination.with_suffix(".c").name, folder / destination.name)
        for destination in OBJECTS
    ]


def _build(source: Path, destination: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".bpf-") as folder:
        built = Path(folder) / destination.name
        nowhere = f"-ffile-prefix-map={source.parent}=."  # BTF names each source line by its file
        here = "-fdebug-compilation-dir=."
        _run("clang", "clang", *FLAGS, nowhere, here, *WARNINGS, "-c", str(source), "-o", str(built))
        _run("llvm-strip", "llvm", "-g", str(built))  # DWARF goes, BTF stays
        built.chmod(0o644)
        built.replace(destination)
    return destination


def _run(program: str, package: str, *arguments: str) -> None:
    path = shutil.which(program)
    if path is None:
        raise RuntimeError(f"no {program}: apt-get install {package}")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    if done.returncode:
        raise RuntimeError(_reason(program, done.stderr))


def _reason(program: str, complaint: str) -> str:
    if "bpf/bpf_helpers.h" in complaint and "not found" in complaint:
        return f"libbpf's headers are missing: apt-get install libbpf-dev\n{complaint}"
    return f"{program} failed:\n{complaint.strip()[-2000:]}"
