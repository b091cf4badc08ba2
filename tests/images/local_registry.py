"""A real registry on loopback, which the engine speaks plain HTTP to, and images pushed to it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import docker
import docker.errors

from tests.images import busybox_archive
from tests.images.archives import File, layer
from tests.ports import free_port

DEADLINE_S = 30.0
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{host}"}}
{auth}
"""


@contextmanager
def registry(folder: Path, host: str = "", auth: str = "") -> Iterator[str]:
    """Its host and port, once it answers: `host`, if given. `auth` is a section of its configuration."""
    program = shutil.which("docker-registry")
    if program is None:
        raise RuntimeError("docker-registry is missing: apt-get install docker-registry")
    host = host or f"127.0.0.1:{free_port()}"
    config = folder / "registry.yml"
    config.write_text(CONFIG.format(folder=folder / "storage", host=host, auth=auth))
    with (folder / "registry.log").open("wb") as log:
        server = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        _await_answer(host)
        yield host
    finally:
        server.terminate()
        server.wait(DEADLINE_S)


def _await_answer(host: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        with suppress(OSError), closing(HTTPConnection(host, timeout=5)) as connection:
            connection.request("GET", "/v2/")
            if connection.getresponse().status in {200, 401}:
                return
        time.sleep(0.05)
    raise RuntimeError(f"no registry answers on {host}")


class Images:
    """Makes images on the engine, and removes what it made."""

    def __init__(self) -> None:
        self.client = docker.DockerClient(base_url="unix:///var/run/docker.sock", version="1.41")
        self._made: list[str] = []

    def close(self) -> None:
        for name in reversed(self._made):
            with suppress(docker.errors.ImageNotFound):
                self.client.images.remove(name, force=True)
        self.client.close()

    def local(self, name: str, files: Iterable[File] = ()) -> str:
        """Busybox and `files`, without a registry. Its id."""
        # A second archive after the first: the end of an archive is two empty blocks, so those go.
        head = busybox_archive({}).rstrip(b"\0")
        head += bytes(-len(head) % 512)
        repository, _, tag = name.rpartition(":")
        self.client.api.import_image_from_data(head + layer(files), repository, tag)
        self._made.append(name)
        return str(self.client.images.get(name).id)

    def pushed(self, name: str, files: Iterable[File] = ()) -> str:
        """The same, pushed: the digest of its manifest."""
        self.local(name, files)
        repository, _, tag = name.rpartition(":")
        lines: Any = self.client.api.push(repository, tag, stream=True, decode=True)
        for line in lines:
            if "error" in line:
                raise RuntimeError(f"{name} was not pushed: {line['error']}")
        (digest,) = self.client.images.get(name).attrs["RepoDigests"]
        return str(digest).partition("@")[2]

    def tag(self, name: str, target: str) -> None:
        repository, _, tag = target.rpartition(":")
        self.client.images.get(name).tag(repository, tag)
        self._made.append(target)
