"""The first process's last word: its program has ended, and it stays until its cgroup has been read.

Without it the last sample is a race that is lost more often than not where systemd keeps the cgroups: it
removes one as soon as it is empty, which is before the exit can be noticed here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from daemon.sandbox import init


class Farewell:
    """At any time while the process runs. `close` lets it leave, and does nothing the second time."""

    def __init__(self, pid: int) -> None:
        """Needs CAP_SYS_PTRACE, as the process is not dumpable: proc_pid_fd(5)."""
        path = f"/proc/{pid}/fd/{init.FAREWELL_FD}"
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def closed(self) -> bool:
        return self._descriptor < 0

    def listen(self, callback: Callable[[], object]) -> None:
        """Called once it has come, until closed; also when the process was killed and says nothing more."""
        asyncio.get_running_loop().add_reader(self._descriptor, callback)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
