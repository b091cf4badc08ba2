"""A sandbox's files, held by a descriptor of its tmpfs: before its first instruction and after its last."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Self

from daemon.sandbox.archive import (
    CHUNK_BYTES,
    Omissions,
    Readable,
    TarLimits,
    read_tar,
    write_tar,
    write_tar_of_file,
)
from daemon.sandbox.beneath import (
    ACROSS_MOUNTS,
    WorkspaceError,
    check_path,
    open_beneath,
    open_directory,
    open_entry,
    open_file,
    opened,
    refusal,
)

DIRECTORY_MODE = 0o755
LIST_LIMIT = 10_000

_TMPFS_MAGIC = 0x01021994  # linux/magic.h
_STATFS_BYTES = 256  # more than any architecture's struct statfs, whose first word is the type

_fstatfs = ctypes.CDLL(None, use_errno=True).fstatfs
_fstatfs.argtypes = (ctypes.c_int, ctypes.c_void_p)


class WorkspaceFull(WorkspaceError):
    """No bytes or no inodes are left. Nothing of the file that did not fit stays."""


class TooLarge(WorkspaceError):
    """A file or a directory is over the limit that the caller gave."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`kind` is "file", "directory", "symlink" or "other"; only the first two can be opened."""

    name: str
    kind: str
    size_bytes: int
    mode: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Usage:
    """A total of 0 means no limit."""

    used_bytes: int
    total_bytes: int
    used_inodes: int
    total_inodes: int


class Workspace:
    """Reads and writes as root in a tree that a hostile program may rearrange at any moment.

    Paths are relative to the workspace; no symbolic link is followed and no other mount entered, even when
    they appear in the midst of a call. Every method blocks and may be called from any thread. All raise
    PathRefused, FileNotFoundError, and ValueError after `close`.

    The files live as long as this is open, also when the container is gone; their memory is freed by `close`,
    or by the last call under way. What is written here is charged to the daemon's cgroup and not to the
    sandbox's: the size of the tmpfs is its one limit.
    """

    def __init__(self, descriptor: int, uid: int, gid: int) -> None:
        """Owns the descriptor of a directory."""
        self._descriptor = descriptor
        self._uid = uid
        self._gid = gid
        self._lock = threading.Lock()

    @classmethod
    def open(cls, pid: int, path: str, uid: int, gid: int) -> Self:
        """The tmpfs at the absolute `path` of the process. What is written will belong to `uid` and `gid`.

        These are the host's numbers. The process must be known to be the sandbox's, its program not started
        yet. Needs CAP_SYS_PTRACE; writing needs CAP_CHOWN, CAP_FOWNER and CAP_DAC_OVERRIDE.
        """
        name = check_path(path.removeprefix("/"))
        with opened(os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
            # Not by the path as a whole: a link in the image would lead to the host's own root.
            descriptor = open_beneath(root, name, os.O_PATH | os.O_DIRECTORY, resolve=ACROSS_MOUNTS)
        if _is_mount_point(descriptor) and _is_tmpfs(descriptor):
            return cls(descriptor, uid, gid)
        os.close(descriptor)
        raise WorkspaceError(f"{path} of process {pid} is no tmpfs of its own: mount one there")

    def close(self) -> None:
        """Does nothing the second time."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def lent(self) -> Iterator[int]:
        """A descriptor of it for another process to inherit, while the block runs."""
        with self._root() as root:
            yield root

    @contextmanager
    def _root(self) -> Iterator[int]:
        """A copy: after a `close` in another thread the number could mean another sandbox's files."""
        with self._lock:
            if self._descriptor < 0:
                raise ValueError("the workspace is closed: its sandbox has been forgotten")
            copy = os.dup(self._descriptor)
        with opened(copy):
            yield copy

    def write(self, path: str, content: bytes | Iterable[bytes], mode: int = 0o644) -> None:
        """Puts a file there, whole or not at all, and makes the directories above it. Raises WorkspaceFull.

        A file of that name is replaced, never written into: what has it open, mapped or linked keeps the old
        one. Both exist for a moment and must fit. Of `mode` only the permission bits are taken.
        """
        above, _, name = check_path(path).rpartition("/")
        with self._root() as root, _translated(path), opened(self._make_directory(root, above)) as parent:
            self._replace(parent, name, content, mode)

    def _replace(self, parent: int, name: str, content: bytes | Iterable[bytes], mode: int) -> None:
        temporary = f".{secrets.token_hex(8)}.part"
        descriptor = open_beneath(parent, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with opened(descriptor):
                _write_all(descriptor, content)
                self._own(descriptor, mode)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise

    def make_directory(self, path: str, mode: int = DIRECTORY_MODE) -> None:
        """Makes it and what is missing above it; one that exists gets the mode. Raises WorkspaceFull."""
        check_path(path)
        with self._root() as root, _translated(path), opened(self._make_directory(root, path)) as made:
            self._own(made, mode)

    def _make_directory(self, root: int, path: str) -> int:
        if not path:
            return os.dup(root)
        with suppress(FileNotFoundError):
            return open_directory(root, path)
        current = os.dup(root)
        for name in path.split("/"):
            with opened(current):
                current = self._enter(current, name)
        return current

    def _enter(self, above: int, name: str) -> int:
        with suppress(FileNotFoundError):
            return open_directory(above, name)
        with suppress(FileExistsError):  # the sandbox's program was faster
            os.mkdir(name, 0o700, dir_fd=above)
        made = open_directory(above, name)
        self._own(made, DIRECTORY_MODE)
        return made

    def _own(self, descriptor: int, mode: int) -> None:
        os.fchown(descriptor, self._uid, self._gid)
        os.fchmod(descriptor, mode & 0o777)  # last: the umask does not count

    def read(self, path: str, limit_bytes: int) -> bytes:
        """A regular file's content; TooLarge if it has more than `limit_bytes`."""
        return b"".join(self.read_chunks(path, limit_bytes))

    def read_chunks(self, path: str, limit_bytes: int) -> Iterator[bytes]:
        """As `read`, piece by piece. The file is opened for the first piece, which raises what `read` does.

        A sparse file of exbibytes takes no memory, hence the limit. An empty file has no pieces.
        """
        with self._root() as root, opened(open_file(root, check_path(path))) as descriptor:
            left_bytes = limit_bytes
            while chunk := os.read(descriptor, min(CHUNK_BYTES, left_bytes + 1)):
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    raise TooLarge(f"{path[:80]!r} has more than {limit_bytes} bytes")
                yield chunk

    def list(self, path: str = ".", limit: int = LIST_LIMIT) -> tuple[Entry, ...]:
        """What a directory has, by name; "." is the workspace. TooLarge if it is over `limit` entries."""
        with self._root() as root, opened(open_directory(root, _checked_directory(path))) as descriptor:
            with os.scandir(descriptor) as found:
                names = sorted(entry.name for entry in islice(found, limit + 1))
            if len(names) > limit:
                raise TooLarge(f"{path[:80]!r} has more than {limit} entries: fetch it as an archive")
            return tuple(_entries(descriptor, names))

    def put_tar(self, stream: Readable, limits: TarLimits | None = None, below: str = ".") -> int:
        """Unpacks an archive as `read_tar` yields it, into the folder `below`; returns the number of entries.

        Raises ArchiveRefused or WorkspaceFull at the first bad entry. What was unpacked before stays, each
        file whole; nothing of that entry does. A name that comes twice gets the later content.
        """
        count = 0
        for entry in read_tar(stream, limits or TarLimits()):
            path = entry.path if below == "." else f"{below}/{entry.path}"
            if entry.content is None:
                self.make_directory(path, entry.mode)
            else:
                self.write(path, entry.content, entry.mode)
            count += 1
        return count

    def get_tar(
        self, path: str = ".", limits: TarLimits | None = None, omitted: Omissions | None = None
    ) -> Iterator[bytes]:
        """An archive of a directory's content or of one file; `write_tar` says what is in it, what not.

        Opened for the first piece. Links, devices, FIFOs and sockets are left out.
        """
        limits, omitted = limits or TarLimits(), [] if omitted is None else omitted
        with self._root() as root:
            descriptor, status = open_entry(root, _checked_directory(path))
            with opened(descriptor):
                if stat.S_ISDIR(status.st_mode):
                    yield from write_tar(descriptor, limits, omitted)
                else:
                    yield from write_tar_of_file(descriptor, path.rpartition("/")[2], limits, omitted)

    def statvfs(self) -> os.statvfs_result:
        with self._root() as root:
            return os.fstatvfs(root)

    def usage(self) -> Usage:
        """As the kernel accounts it: whole pages, and an inode for each file, directory and link."""
        found = self.statvfs()
        return Usage(
            used_bytes=(found.f_blocks - found.f_bfree) * found.f_frsize,
            total_bytes=found.f_blocks * found.f_frsize,
            used_inodes=found.f_files - found.f_ffree,
            total_inodes=found.f_files,
        )


def _entries(directory: int, names: Iterable[str]) -> Iterator[Entry]:
    for name in names:
        with suppress(FileNotFoundError):  # removed since it was listed
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            yield Entry(
                name, _kind(status.st_mode), status.st_size, status.st_mode & 0o7777, status.st_mtime_ns
            )


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    return kinds.get(stat.S_IFMT(mode), "other")


def _is_mount_point(descriptor: int) -> bool:
    return os.stat("..", dir_fd=descriptor).st_dev != os.fstat(descriptor).st_dev


def _is_tmpfs(descriptor: int) -> bool:
    found = (ctypes.c_long * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_long)))()
    return _fstatfs(descriptor, found) == 0 and found[0] == _TMPFS_MAGIC


def _checked_directory(path: str) -> str:
    return path if path == "." else check_path(path)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkspaceFull(
                f"no space or inodes left for {path[:80]!r}: write less or ask for a larger workspace_size"
            ) from error
        if (refused := refusal(error, path)) is error:
            raise
        raise refused from error


def _write_all(descriptor: int, content: bytes | Iterable[bytes]) -> None:
    for chunk in (content,) if isinstance(content, bytes) else content:
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]
