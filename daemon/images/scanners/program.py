"""A scanner's program: pinned by hash if need be, and run confined on one image."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.images.child import Unscannable, last_line, run_program
from daemon.images.confinement import NOBODY, Limits
from daemon.images.scanners.stamp import stamp

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
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

Identity = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Program:
    """`sha256`, if given, is what the file must hash to: another is not run, nor one that others may
    write to."""

    path: Path
    sha256: str | None = None
    limits: Limits = LIMITS

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[int]:
        """Open, and judged: what is run then is this very file. Raises Unscannable."""
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise Unscannable(
                f"{self.path}: {error.strerror}: install it, or name another scanner"
            ) from error
        with file:
            if self.sha256 is not None:
                await asyncio.to_thread(self._judge, file.fileno(), self.sha256.lower())
            yield file.fileno()

    def _judge(self, descriptor: int, sha256: str) -> None:
        _check_closed(self.path, os.fstat(descriptor))
        if (found := _hash(descriptor)) != sha256:
            raise Unscannable(
                f"{self.path} is not the program that the settings pin by its sha256, but {found}"
            )

    def stamp(self) -> tuple[object, ...]:
        return self.sha256, stamp(self.path)

    async def version(
        self, descriptor: int, arguments: Sequence[str], folder: Path, read: Callable[[bytes], str]
    ) -> str:
        """What it says, as `read` finds it in the answer: asked once for each file. Raises Unscannable."""
        identity = _identity(descriptor)
        if identity not in _VERSIONS:
            _VERSIONS[identity] = read(await self.run(descriptor, arguments, folder))
        return _VERSIONS[identity]

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


def check_closed(database: Path) -> None:
    """Who can change it says what is vulnerable. Raises Unscannable where others than root can."""
    try:
        for path in (database, *database.rglob("*")):
            _check_closed(path, path.stat())
    except OSError as error:
        raise Unscannable(f"the database {database} cannot be read: {error.strerror}") from error


def _check_closed(path: Path, status: os.stat_result) -> None:
    if status.st_mode & WRITABLE_BY_OTHERS or status.st_uid not in {0, os.geteuid()}:
        raise Unscannable(f"{path}: others than root may write to it: chown root, chmod go-w")


# By file, each read or asked once: who can change one and not its ctime is root already.
_HASHES: dict[Identity, str] = {}
_VERSIONS: dict[Identity, str] = {}


def _identity(descriptor: int) -> Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _hash(descriptor: int) -> str:
    identity = _identity(descriptor)
    if identity not in _HASHES:
        total = hashlib.sha256()
        with open(descriptor, "rb", closefd=False) as file:
            while part := file.read(_CHUNK_BYTES):
                total.update(part)
        _HASHES[identity] = total.hexdigest()
    return _HASHES[identity]


@asynccontextmanager
async def private_folder() -> AsyncIterator[Path]:
    """Nobody's own. `empty` in it is to run in: no settings are found there; `nothing` is an empty file.

    Raises Unscannable where nobody cannot come to it.
    """
    folder = Path(tempfile.mkdtemp(prefix="container-kit-scan-"))
    try:
        _check_way_to(folder)
        (folder / "empty").mkdir()
        (folder / "nothing").touch()
        give_away(folder)
        yield folder
    finally:  # a copied database takes its time to go
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _check_way_to(folder: Path) -> None:
    closed = [parent for parent in folder.parents if not parent.stat().st_mode & stat.S_IXOTH]
    if closed and os.geteuid() == 0:
        raise Unscannable(f"{closed[-1]}: nobody may not enter it: set TMPDIR to a folder as open as /tmp")


def give_away(path: Path) -> None:
    if os.geteuid() == 0:
        for item in (path, *path.rglob("*")):
            os.chown(item, NOBODY, NOBODY)


async def copy(source: Path, target: Path) -> None:
    """Of a database: a scanner that was taken over by an image must not change what the next one reads.

    Raises Unscannable, also where it is changed meanwhile: half of the old one and half of the new is none.
    """
    await asyncio.to_thread(_copy, source, target)


def _copy(source: Path, target: Path) -> None:
    check_closed(source)
    before = stamp(source)
    try:
        shutil.copytree(source, target, copy_function=shutil.copyfile)
        target.chmod(0o700)
    except (OSError, shutil.Error) as error:
        raise Unscannable(f"the database {source} cannot be copied: {error}") from error
    if stamp(source) != before:
        raise Unscannable(f"the database {source} was changed while it was copied: try again")
    give_away(target)


@contextmanager
def readable(path: Path) -> Iterator[int]:
    """An open file that a process of nobody may open once more by /proc/self/fd, wherever it lies."""
    with path.open("rb") as file:
        if os.geteuid() == 0:
            os.fchmod(file.fileno(), 0o444)
        yield file.fileno()
