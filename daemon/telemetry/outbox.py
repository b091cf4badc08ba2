"""A bounded queue in front of a receiver that may be slow, down or lying, with a thread of its own.

The SDK's own batch processors drop in silence, and can hold up the end of a program for many seconds
(opentelemetry-python issues 1860 and 4555). Here what no receiver took is counted, by reason.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from daemon.errors import ExportError

SEND_INTERVAL_S = 1.0
LONGEST_PAUSE_S = 30.0
REASONS = ("queue_full", "refused", "shutdown")

log = structlog.get_logger()
Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """`put` neither blocks nor raises: what is too much pushes out the oldest.

    `send` returns how many of the batch were rejected, or raises ExportError: a retryable one keeps the
    batch for later. It is called from one thread, and may block.
    """

    def __init__(self, signal: str, send: Callable[[list[Item]], int], *, limit: int, batch: int) -> None:
        self.signal = signal
        self.sent = 0
        self.lost: Counter[str] = Counter()
        self._send, self._limit, self._batch = send, limit, batch
        self._items: deque[Item] = deque()
        self._under_way: list[Item] = []
        self._pause_s = SEND_INTERVAL_S
        self._failing = self._closing = self._given_up = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        # A daemon thread: one that waits for a receiver must not hold up the end of the program.
        self._thread = threading.Thread(target=self._run, name=f"otlp {signal}", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        with self._lock:
            if self._closing:
                self.lost["shutdown"] += 1
                return
            self._items.append(item)
            self._trim()
            wanted = len(self._items) >= self._batch and not self._failing
        if wanted:
            self._wake.set()

    def stop(self) -> None:
        """What waits is still sent, if a receiver takes it at once; `join` says when to give up."""
        with self._lock:
            self._closing = True
        self._wake.set()

    def join(self, deadline_s: float) -> None:
        """Until the moment `deadline_s` of the monotonic clock at the latest; what is left then is lost."""
        self._thread.join(max(0.0, deadline_s - time.monotonic()))
        with self._lock:
            self._given_up = True
            self.lost["shutdown"] += len(self._items) + len(self._under_way)
            self._items.clear()
            self._under_way = []

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wake.wait(self._pause_s)
            self._wake.clear()
            closing = self._closing  # before what waits is taken: nothing is put after it
            self._drain()

    def _drain(self) -> None:
        while (batch := self._take()) and self._deliver(batch):
            pass

    def _take(self) -> list[Item]:
        with self._lock:
            self._under_way = [self._items.popleft() for _ in range(min(self._batch, len(self._items)))]
            return self._under_way

    def _deliver(self, batch: list[Item]) -> bool:
        """False where the receiver is to be left alone for a while."""
        try:
            self._settle(len(batch), rejected=self._send(batch))
        except ExportError as error:
            self._fail(batch, str(error), again=error.retryable)
            return not error.retryable
        except Exception as error:  # a library's trouble must not end the thread
            self._fail(batch, f"{type(error).__name__}: {error}", again=False)
            return True
        return True

    def _settle(self, size: int, rejected: int) -> None:
        with self._lock:
            if self._given_up:
                return  # counted already
            self._under_way = []
            self.sent += size - rejected
            self.lost["refused"] += rejected
            recovered, self._failing = self._failing, False
            self._pause_s = SEND_INTERVAL_S
        if recovered:
            log.info("the OTLP receiver takes it again", signal=self.signal)

    def _fail(self, batch: list[Item], reason: str, *, again: bool) -> None:
        with self._lock:
            if self._given_up:
                return
            self._under_way = []
            if again:
                self._items.extendleft(reversed(batch))
                self._trim()
                self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S) * random.uniform(0.75, 1)  # noqa: S311
            else:
                self.lost["refused"] += len(batch)
            known, self._failing = self._failing, True
        if not known:  # once an outage
            log.warning("the OTLP receiver does not take it", signal=self.signal, reason=reason[:300])

    def _trim(self) -> None:
        while len(self._items) > self._limit:
            self._items.popleft()
            self.lost["queue_full"] += 1
