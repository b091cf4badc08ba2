"""Images that tests and the demo make from local files: no registry is needed."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import docker.errors

FOLDERS = ("bin", "etc", "proc", "sys", "dev", "tmp", "var", "var/tmp", "workspace", "root")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/workspace:/bin/sh\n"


def busybox_archive(extra: dict[str, Path]) -> bytes:
    """A root file system of one static program; `extra` maps paths in it to files of the host."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise RuntimeError("busybox is missing: apt-get install busybox-static")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in FOLDERS:
            _add(tar, folder, tarfile.DIRTYPE, 0o1777 if folder.endswith("tmp") else 0o755)
        tar.add(busybox, "bin/busybox", filter=_as_root)
        for applet in applets:
            if applet != "busybox":
                _add(tar, f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
        _add(tar, "etc/passwd", tarfile.REGTYPE, 0o644, PASSWD)
        for path, source in extra.items():
            tar.add(source, path, filter=_as_root)
    return buffer.getvalue()


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.mode = 0o755
    return member


def _add(tar: tarfile.TarFile, name: str, kind: bytes, mode: int, data: bytes = b"", link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size, member.linkname = kind, mode, len(data), link
    tar.addfile(member, io.BytesIO(data))


@contextmanager
def imported(tag: str, extra: dict[str, Path] | None = None) -> Iterator[str]:
    """The image `tag`, for as long as the block runs."""
    client = docker.DockerClient(base_url="unix:///var/run/docker.sock", version="1.41")
    try:
        client.api.import_image_from_data(busybox_archive(extra or {}), *tag.split(":"))
        yield tag
    finally:
        with suppress(docker.errors.ImageNotFound):
            client.images.remove(tag, force=True)
        client.close()
