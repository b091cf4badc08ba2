"""The probe as a program and as an image that holds nothing else."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import ImageNotFound

SOURCE = Path(__file__).with_name("probe.c")
ENTRY = "/probe"
# A tmpfs takes its mode from the folder of the image under older runc, whatever the mount says.
FOLDERS = {"tmp": 0o1777, "var": 0o755, "var/tmp": 0o1777, "workspace": 0o1777, "etc": 0o755, "usr": 0o755}


def build_probe(dest: Path) -> Path:
    """Compiles the static probe into the folder `dest`; returns the program, which prints one JSON object."""
    program = dest / "probe"
    warnings = ("-Wall", "-Wextra", "-Werror")
    subprocess.run(["gcc", "-static", "-O2", *warnings, "-o", program, SOURCE], check=True)
    return program


def archive(program: Path) -> bytes:
    """A root file system, as tar: the probe and the folders where it tries things."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in FOLDERS.items():
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        entry = tarfile.TarInfo(ENTRY.removeprefix("/"))
        entry.mode, entry.size = 0o755, program.stat().st_size
        tar.addfile(entry, io.BytesIO(program.read_bytes()))
    return buffer.getvalue()


@contextmanager
def probe_image(client: docker.DockerClient, dest: Path, tag: str) -> Iterator[str]:
    """An image that is there as `tag` for as long as the block runs."""
    repository, _, version = tag.rpartition(":")
    client.api.import_image_from_data(archive(build_probe(dest)), repository, version)
    try:
        yield tag
    finally:
        remove_image(client, tag)


def remove_image(client: docker.DockerClient, tag: str) -> None:
    try:
        client.images.remove(tag, force=True)
    except ImageNotFound:
        return
