"""A program of this host: no shell, the alert on its stdin, few rights and little time."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from daemon.alerts.alert import Notification
from daemon.alerts.channels import ChannelKind, ChannelOptions
from daemon.errors import ConfigError, ExportError
from daemon.images.child import Output, Unscannable, last_line, run_program
from daemon.images.confinement import Limits

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
OUTPUT_BYTES = 4096
REFUSED = os.EX_DATAERR
"""The exit code of a program that will never take this alert; with any other it is tried again."""
WRITABLE_BY_OTHERS = 0o022
CAP_SETGID, CAP_SETUID = 6, 7

Argument = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]


class CommandOptions(ChannelOptions):
    argv: list[Argument] = Field(min_length=1, max_length=64)
    """The program by its absolute path, and its arguments as they are."""
    user: str = "nobody"
    timeout_s: float = Field(default=10.0, gt=0, le=60)
    sockets: bool = False
    """Whether it may open any: it needs them to tell another host, or a service of this one."""


class Command:
    """Runs once an alert, one at a time; with it ends all that it has started."""

    def __init__(self, options: CommandOptions) -> None:
        user = _user(options.user)
        self._argv = options.argv
        self._limits = Limits(
            memory_bytes=512 << 20,
            address_bytes=64 << 30,
            cpu_s=60,
            wall_s=options.timeout_s,
            file_bytes=64 << 20,
            open_files=256,
            output_bytes=OUTPUT_BYTES,
            uid=user.pw_uid,
            gid=user.pw_gid,
            sockets=options.sockets,
        )
        with opened(options.argv[0]):
            pass  # a program that cannot be trusted is an error now, not at the first alert

    async def tell(self, notification: Notification) -> None:
        name = self._argv[0]
        try:
            with opened(name) as program:
                done = await self._run(program, notification.body + b"\n")
        except (ConfigError, OSError, Unscannable) as error:
            raise ExportError(f"{name}: {error}") from error
        if done.code:
            said = last_line(done.stderr or done.stdout.decode(errors="replace"))
            raise ExportError(f"{name}: exit code {done.code}: {said}", retryable=done.code != REFUSED)

    async def _run(self, program: int, content: bytes) -> Output:
        return await run_program(
            program, self._argv, self._limits, Path("/"), ENVIRONMENT, stdin=content, cut=True
        )

    async def close(self) -> None:
        """Nothing runs between two alerts."""


@contextmanager
def opened(name: str) -> Iterator[int]:
    """The program, which nobody but root and this daemon's user can have changed. Raises ConfigError."""
    if not name.startswith("/"):
        raise ConfigError(f"argv: {name!r} is no absolute path: write all of it")
    try:
        path = Path(name).resolve(strict=True)
        for folder in path.parents:
            _check_owner(folder, folder.stat())
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"argv: {name}: {error.strerror}") from error
    try:
        _check_program(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _check_program(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_IXOTH:
        raise ConfigError(f"argv: {path} is no file that everybody may execute")
    _check_owner(path, status)


def _check_owner(path: Path, status: os.stat_result) -> None:
    """A folder like /tmp, where each may remove what is his own, lets nobody change what is root's."""
    shared = status.st_mode & WRITABLE_BY_OTHERS and not (
        stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    )
    if status.st_uid not in {0, os.geteuid()} or shared:
        raise ConfigError(f"argv: {path} can be changed by others than root: chown root, chmod go-w")


def _user(name: str) -> pwd.struct_passwd:
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise ConfigError(f"user: {name} is no user of this host") from error
    if user.pw_uid == 0:
        raise ConfigError("user: a command never runs as root: name another")
    if os.geteuid() not in {0, user.pw_uid}:
        raise ConfigError(f"user: only root can become {name}: run the daemon as root, or name its own user")
    if os.geteuid() == 0 and not _may_change_users():
        raise ConfigError(
            "user: the service manager lets this daemon change no user: "
            "add the drop-in alert-commands.conf (docs/alerting.md)"
        )
    return user


def _may_change_users() -> bool:
    """CapEff of proc(5)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    effective = int(next(line for line in lines if line.startswith("CapEff:")).split()[1], 16)
    return all(effective >> capability & 1 for capability in (CAP_SETGID, CAP_SETUID))


COMMAND = ChannelKind(CommandOptions, Command)
