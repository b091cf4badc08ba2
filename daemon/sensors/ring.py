"""A BPF ring buffer mapped into this process: records are read where the kernel wrote them.

Layout (kernel/bpf/ringbuf.c): a page with the consumer's position, a page with the producer's, then the data,
mapped twice in a row so that no record is cut. Every record has a header of 8 bytes, of which the first four
are its length and two flags, and is padded to 8 bytes. The kernel publishes a record by a release store of
that word; a load is never moved before an earlier one on x86, which is what makes plain reads right there.

The kernel wakes a waiting reader at a record that begins where the consumer's position is, and at no other: a
position that stays at the start of the last record that was read keeps it quiet. A wake-up costs the program
that made the record more than the record does.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable

_BUSY = 1 << 31
_DISCARDED = 1 << 30
_LENGTH = _DISCARDED - 1
_HEADER_BYTES = 8
_PUBLISH_EVERY = 64


class Ring:
    """After `arm`, `fd` becomes readable once there is something to read."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        page = mmap.PAGESIZE
        self.fd = fd
        self._mask = size_bytes - 1
        self._ours = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._theirs = mmap.mmap(fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer: ctypes.c_uint64 | None = ctypes.c_uint64.from_buffer(self._ours)
        self._view = memoryview(self._theirs)
        self._producer = self._view[:8].cast("Q")
        self._data = self._view[page:]
        self._words = self._data.cast("I")
        self._position = self._consumer.value

    def read(self, take: Callable[[memoryview], None], budget: int) -> int:
        """Calls `take` with up to `budget` records, returns how many. A view is valid only in its call."""
        consumer = self._consumer
        if consumer is None:
            return 0
        position = start = self._position
        count = 0
        while count < budget and position < self._producer[0]:
            at = position & self._mask
            word = self._words[at >> 2]
            if word & _BUSY:
                break
            start, length = position, word & _LENGTH
            position += length + _HEADER_BYTES + 7 & ~7
            if not word & _DISCARDED:
                take(self._data[at + _HEADER_BYTES : at + _HEADER_BYTES + length])
                count += 1
            if not count % _PUBLISH_EVERY:
                consumer.value = start
        if position > self._position:
            self._position, consumer.value = position, start
        return count

    def arm(self) -> bool:
        """Lets the next record wake a reader; True if it is there already. `fd` is to be polled after it, not
        before: what came in between is seen by that."""
        if self._consumer is not None:
            self._consumer.value = self._position
        return self.pending

    @property
    def pending(self) -> bool:
        return self._consumer is not None and self._position < self._producer[0]

    def close(self) -> None:
        if self._consumer is None:
            return
        self._consumer = None
        for view in (self._words, self._data, self._producer, self._view):
            view.release()
        self._theirs.close()
        self._ours.close()
