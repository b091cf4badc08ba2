"""Processes by the kernel's proc connector: what is seen of them where no eBPF program can be loaded."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Iterator

from daemon.errors import SensorError
from daemon.events import Event, Tier
from daemon.sensors.batches import Batches
from daemon.sensors.connector import Connector
from daemon.sensors.drift import Expect
from daemon.sensors.processes import Opened, Processes

TURN_S = 0.005
"""The longest that the loop is held up before others have their turn."""
SURVEY_DELAY_S = 1.0


class NetlinkSensor:
    """Reports the processes of every container, watched or not, and none of the host."""

    tier = Tier.NETLINK

    def __init__(self, expect: Expect = lambda container: None) -> None:
        """In the loop's thread. Raises SensorError where the host has no proc connector."""
        self._processes = Processes(expect)
        self._unreadable = self._overrun = 0
        self._batches = Batches()
        self._survey_timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._connector = Connector()
        try:
            self._survey()
        except OSError as error:
            self._connector.close()
            raise SensorError(f"proc connector: /proc: {error.strerror}: no process can be placed") from error
        self._loop.add_reader(self._connector.socket, self._read)

    @property
    def lost(self) -> dict[str, int]:
        """overrun: messages that the kernel had no room for; unattributed: processes that ended before it was
        known whether they were in a container; unreadable: refused by /proc; behind: not fetched in time."""
        return {
            "overrun": self._overrun,
            "unattributed": self._processes.unattributed,
            "unreadable": self._unreadable,
            "behind": self._batches.dropped,
        }

    def origin(self, pid: int) -> str | None:
        """The container of a process that lives or has lately ended, "" for the host, None if unknown."""
        return self._processes.origin(pid)

    @property
    def unplaced(self) -> int:
        """Children of a container runtime that ended before they were looked at: its helpers nearly all, and
        counted apart, as they are many on a busy machine. A program could hide among them that was started
        from outside, calls itself its runtime's child (CLONE_PARENT) and ends at once."""
        return self._processes.unplaced

    def ask(self, opened: Opened) -> None:
        """From now on, what a process had executed that ended before /proc was read."""
        self._processes.opened = opened

    def events(self) -> AsyncIterator[list[Event]]:
        return self._batches.iterate()

    async def close(self) -> None:
        if self._connector.socket.fileno() == -1:
            return
        self._loop.remove_reader(self._connector.socket)
        if self._survey_timer:
            self._survey_timer.cancel()
        self._connector.close()
        self._batches.close()

    def _read(self) -> None:
        end_s = time.monotonic() + TURN_S
        try:
            while time.monotonic() < end_s:
                self._batches.put(self._next())
        except BlockingIOError:
            pass
        except OSError as error:
            self._loop.remove_reader(self._connector.socket)
            self._batches.fail(SensorError(f"proc connector: {error.strerror or error}"))

    def _next(self) -> Iterator[Event]:
        try:
            message = self._connector.receive()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._lose()
            return
        if message:
            try:
                yield from self._processes.told(message)
            except OSError:
                self._unreadable += 1

    def _lose(self) -> None:
        """Who came and went unseen is found by looking, a while later lest a flood keep us at it."""
        self._overrun = self._connector.dropped()
        if self._survey_timer is None:
            self._survey_timer = self._loop.call_later(SURVEY_DELAY_S, self._survey)

    def _survey(self) -> None:
        self._survey_timer = None
        self._batches.put(self._processes.survey(time.monotonic_ns()))
