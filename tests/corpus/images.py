"""The two images of the corpus: a root file system each, with the cases that need it baked in at /cases.

Baked in, not mounted: nothing that a sandbox can write to is executable, and a mount of the host would be a
hole of our own making.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import docker

from tests.corpus.bootstrap import debian
from tests.corpus.case import CASES, Image, cases
from tests.images import imported

LIB = Path(__file__).with_name("lib")
COMPILERS = 2
GCC = ("gcc", "-O1", "-static", "-pthread", "-Wall", "-Wextra", "-Werror", "-I", LIB, "-o")

Files = dict[str, Path]
Images = dict[Image, str]


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url="unix:///var/run/docker.sock", version="1.41")
    try:
        yield client
    finally:
        client.close()


@contextmanager
def images(client: docker.DockerClient) -> Iterator[Images]:
    """Their names, for as long as the block runs. The Debian that one is made from is kept."""
    repository = f"container-kit-corpus/cases-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="container-kit-corpus-") as name:
        programs = compile_all(Path(name))
        small = case_files(Image.BUSYBOX, programs) | fakenet_files(programs)
        full = case_files(Image.DEBIAN, programs)
        with (
            imported(f"{repository}:busybox", small) as busybox,
            added(client, debian(client), full, f"{repository}:debian") as whole,
        ):
            yield {Image.BUSYBOX: busybox, Image.DEBIAN: whole}


def compile_all(folder: Path) -> Files:
    """Every C source, as a static program in `folder`."""
    programs = {source: folder / f"{source.parent.name}-{source.stem}" for source in _sources()}
    with ThreadPoolExecutor(COMPILERS) as pool:
        list(pool.map(_compile, programs.items()))
    return {str(source.relative_to(LIB.parent)): program for source, program in programs.items()}


def _sources() -> list[Path]:
    return sorted([*CASES.glob("*/*.c"), *LIB.glob("*.c")])


def _compile(pair: tuple[Path, Path]) -> None:
    source, program = pair
    done = subprocess.run([*GCC, program, source], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{source} does not compile:\n{done.stderr}")


def case_files(image: Image, programs: Files) -> Files:
    """Path in the image -> file here."""
    files = {"cases/attempt.sh": LIB / "attempt.sh"}
    for case in cases():
        if case.image is image:
            files[f"{case.path}/run.sh".lstrip("/")] = case.folder / "run.sh"
            if program := programs.get(f"cases/{case.id}/attack.c"):
                files[f"{case.path}/attack".lstrip("/")] = program
    return files


def fakenet_files(programs: Files) -> Files:
    return {"fakenet/run.sh": LIB / "fakenet.sh", "fakenet/udpsink": programs["lib/udpsink.c"]}


@contextmanager
def added(client: docker.DockerClient, base: str, files: Files, tag: str) -> Iterator[str]:
    client.images.build(
        fileobj=_context(base, files),
        custom_context=True,
        tag=tag,
        network_mode="none",
        rm=True,
        forcerm=True,
    )
    try:
        yield tag
    finally:
        client.images.remove(tag, force=True)


def _context(base: str, files: Files) -> io.BytesIO:
    recipe = f"FROM {base}\nCOPY root /\n".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(recipe)
        tar.addfile(entry, io.BytesIO(recipe))
        for path, source in files.items():
            tar.add(source, f"root/{path}", filter=_executable)
    buffer.seek(0)
    return buffer


def _executable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.mode = 0o755
    return entry
