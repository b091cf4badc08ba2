"""A scanner's program: pinned by hash if need be, and run confined on one image."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.images.child import Unscannable, last_line, run_program
from daemon.images.confinement import NOBODY, Limits

LIMITS = Limits(
    memory_bytes=2 << 30,
    address_bytes=64 << 30,
    cpu_s=120,
    wall_s=120.0,
    file_bytes=8 << 30,
    open_files=1024,
    output_bytes=256 << 20,
)
_CHUNK_BYTES = 1 << 20

Identity = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Program:
    """`sha256`, if given, is what the file must hash to: another is not run."""

    path: Path
    sha256: str | None = None
    limits: Limits = LIMITS

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open, and judged: what is run then is this very file. Raises Unscannable."""
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise Unscannable(
                f"{self.path}: {error.strerror}: install it, or name another scanner"
            ) from error
        with file:
            if self.sha256 is not None and _hash(file.fileno()) != self.sha256.lower():
                raise Unscannable(f"{self.path} is not the program that the settings pin by its sha256")
            yield file.fileno()

    async def run(
        self, descriptor: int, arguments: Sequence[str], folder: Path, *, image: int | None = None
    ) -> bytes:
        """What it wrote to stdout. Raises Unscannable where it failed in any way."""
        places = {name: str(folder) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
        given = () if image is None else (image,)
        argv = [self.path.name, *arguments]
        done = await run_program(
            descriptor,
            argv,
            self.limits,
            folder / "empty",
            places | {"PATH": "/nonexistent"},
            descriptors=given,
        )
        if done.code:
            raise Unscannable(f"{self.path.name} failed with {done.code}: {last_line(done.stderr)}")
        return done.stdout


_HASHES: dict[Identity, str] = {}


def _hash(descriptor: int) -> str:
    """Read once for each file: who can change one and not its ctime is root already."""
    status = os.fstat(descriptor)
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if identity not in _HASHES:
        total = hashlib.sha256()
        with open(descriptor, "rb", closefd=False) as file:
            while part := file.read(_CHUNK_BYTES):
                total.update(part)
        _HASHES[identity] = total.hexdigest()
    return _HASHES[identity]


@contextmanager
def private_folder() -> Iterator[Path]:
    """Nobody's own. `empty` in it is to run in: no settings are found there; `nothing` is an empty file."""
    with tempfile.TemporaryDirectory(prefix="container-kit-scan-") as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        (folder / "nothing").touch()
        give_away(folder)
        yield folder


def give_away(path: Path) -> None:
    if os.geteuid() == 0:
        for item in (path, *path.rglob("*")):
            os.chown(item, NOBODY, NOBODY)


def copy(source: Path, target: Path) -> None:
    """Of a database: a scanner that was taken over by an image must not change what the next one reads."""
    try:
        shutil.copytree(source, target, copy_function=shutil.copyfile)
        target.chmod(0o700)
    except (OSError, shutil.Error) as error:
        raise Unscannable(f"the database {source} cannot be copied: {error}") from error
    give_away(target)


@contextmanager
def readable(path: Path) -> Iterator[int]:
    """An open file that a process of nobody may open once more by /proc/self/fd, wherever it lies."""
    with path.open("rb") as file:
        if os.geteuid() == 0:
            os.fchmod(file.fileno(), 0o444)
        yield file.fileno()
