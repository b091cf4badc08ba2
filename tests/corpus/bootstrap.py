"""A small Debian or Ubuntu as an image, from the packages of this machine's own release. Made once and kept.

The tag carries a hash of the recipe below: what is changed here is made anew. An old one is removed with
`docker image rm`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import docker

REPOSITORY = "container-kit-corpus/debian"
PACKAGES = (
    *("curl", "e2fsprogs", "gcc", "gdb-minimal", "git", "libc6-dev", "nodejs", "python3-pandas"),
    *("python3-pytest", "python3-venv", "sqlite3", "tmux", "unzip", "xz-utils", "zip", "zstd"),
)
WHEELS = ("attrs", "click", "six")
DPKG = (
    "force-unsafe-io",  # no fsync for each file of a file system that is packed up at once
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/bin/*-lto-dump-*",
)
COMPONENTS = ("main", "universe")
CHUNK_BYTES = 1 << 20
LOCK = Path(tempfile.gettempdir()) / "container-kit-corpus.lock"


def debian(client: docker.DockerClient) -> str:
    """The image's name. Making it takes a minute or two and a package mirror; who comes meanwhile waits."""
    tag = f"{REPOSITORY}:{recipe()}"
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not client.images.list(tag):
            _make(client, tag)
    return tag


def _make(client: docker.DockerClient, tag: str) -> None:
    with _wheels() as wheels, _root_file_system(wheels) as archive:
        image = _import(client, archive)
    client.images.get(image).tag(*tag.split(":"))


def recipe() -> str:
    parts = [release(), platform.machine(), PACKAGES, WHEELS, DPKG, COMPONENTS]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def release() -> tuple[str, str]:
    """The distribution as apt calls it, and the name of its release: ("Debian", "bookworm")."""
    fields = platform.freedesktop_os_release()
    return fields["ID"].title(), fields["VERSION_CODENAME"]


def sources() -> list[str]:
    """Where apt gets this release from, security updates included, as lines of sources.list(5)."""
    origin, codename = release()
    found = _listed(origin, codename)
    if not found:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        found = _listed(origin, codename)
    if not found:
        raise RuntimeError(f"apt has no source of {origin} {codename}: add one to /etc/apt/sources.list.d")
    return [f"deb {_signed_by(origin)}{line}" for line in found]


def _listed(origin: str, codename: str) -> list[str]:
    """As "URI suite component". Other sources that apt has, such as a vendor's, have another origin."""
    wanted = ("Identifier: Packages", f"Origin: {origin}")
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", *wanted]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted({line for line in listed if _is_ours(*line.split(), codename=codename)})


def _is_ours(_uri: str, suite: str, component: str, *, codename: str) -> bool:
    return suite.partition("-")[0] == codename and component in COMPONENTS


def _signed_by(origin: str) -> str:
    keyring = Path(f"/usr/share/keyrings/{origin.lower()}-archive-keyring.gpg")
    return f"[signed-by={keyring}] " if keyring.exists() else ""


@contextmanager
def _wheels() -> Iterator[Path]:
    """A folder of the packages that a case installs, as pip would fetch them."""
    with tempfile.TemporaryDirectory(prefix="container-kit-wheels-") as name:
        folder = Path(name) / "wheels"
        options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, "--dest", folder, *WHEELS], check=True
        )
        yield folder


@contextmanager
def _root_file_system(wheels: Path) -> Iterator[IO[bytes]]:
    """A tar stream. Raises RuntimeError at the end of the block if it is not whole."""
    mmdebstrap = shutil.which("mmdebstrap")
    if mmdebstrap is None:
        raise RuntimeError("mmdebstrap is missing: apt-get install mmdebstrap")
    options = [f"--include={','.join(PACKAGES)}", *(f"--dpkgopt={option}" for option in DPKG)]
    hook = f"--customize-hook=copy-in {wheels} /"
    command = [mmdebstrap, "--quiet", "--variant=apt", *options, hook, release()[1], "-", *sources()]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as made,
    ):
        assert made.stdout is not None
        yield made.stdout
        if made.wait() != 0:
            log.seek(0)
            raise RuntimeError(f"mmdebstrap failed:\n{log.read().decode(errors='replace')[-4000:]}")


def _import(client: docker.DockerClient, archive: IO[bytes]) -> str:
    chunks = iter(lambda: archive.read(CHUNK_BYTES), b"")
    answer = client.api.import_image_from_stream(chunks)
    *_, last = (json.loads(line) for line in answer.splitlines())
    if "error" in last:
        raise RuntimeError(f"the engine did not take the image: {last['error']}")
    return str(last["status"])
