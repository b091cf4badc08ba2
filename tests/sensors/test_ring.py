"""The reader of a ring buffer, on memory that is laid out as the kernel does it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import pytest

from daemon.sensors.ring import Ring

PAGE = mmap.PAGESIZE
SIZE = PAGE
DISCARDED = 1 << 30
BUSY = 1 << 31


class Kernel:
    """The producer's side."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * SIZE)
        self.end = 0

    def put(self, record: bytes, flags: int = 0) -> int:
        """Where it begins."""
        begin = self.end
        header = (len(record) | flags).to_bytes(4, "little") + bytes(4)
        os.pwrite(self.fd, header + record, 2 * PAGE + begin)
        self.end += len(record) + 8 + 7 & ~7
        os.pwrite(self.fd, self.end.to_bytes(8, "little"), PAGE)
        return begin

    @property
    def consumer(self) -> int:
        return int.from_bytes(os.pread(self.fd, 8, 0), "little")

    def wakes_at(self, begin: int) -> bool:
        """bpf_ringbuf_commit of kernel/bpf/ringbuf.c."""
        return self.consumer == begin


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    os.close(made.fd)


@pytest.fixture
def ring(kernel: Kernel) -> Iterator[Ring]:
    made = Ring(kernel.fd, SIZE)
    yield made
    made.close()


def taken(ring: Ring, budget: int = 1000) -> list[bytes]:
    found: list[bytes] = []
    ring.read(lambda view: found.append(bytes(view)), budget)
    return found


def test_each_record_is_read_once_in_its_order_and_discarded_ones_never(kernel: Kernel, ring: Ring) -> None:
    kernel.put(b"one")
    kernel.put(b"gone", DISCARDED)
    kernel.put(b"two")
    assert taken(ring, budget=1) == [b"one"]
    assert ring.pending
    assert taken(ring) == [b"two"]
    assert not ring.pending
    assert taken(ring) == []


def test_a_record_in_the_making_is_waited_for(kernel: Kernel, ring: Ring) -> None:
    kernel.put(b"one")
    begin = kernel.put(b"two", BUSY)
    kernel.put(b"three")
    assert taken(ring) == [b"one"]
    assert ring.pending
    os.pwrite(kernel.fd, (3).to_bytes(4, "little"), 2 * PAGE + begin)
    assert taken(ring) == [b"two", b"three"]


def test_only_an_armed_ring_is_woken(kernel: Kernel, ring: Ring) -> None:
    assert kernel.wakes_at(kernel.put(b"first"))
    taken(ring)
    assert not kernel.wakes_at(kernel.put(b"second"))
    taken(ring)
    assert not ring.arm()
    assert kernel.wakes_at(kernel.put(b"third"))


def test_arming_tells_of_what_is_there_already(kernel: Kernel, ring: Ring) -> None:
    kernel.put(b"one")
    taken(ring)
    kernel.put(b"two")
    assert ring.arm()
    assert taken(ring) == [b"two"]


def test_room_is_given_back_but_for_the_last_record(kernel: Kernel, ring: Ring) -> None:
    begins = [kernel.put(b"x" * 8) for _ in range(150)]
    taken(ring)
    assert kernel.consumer == begins[-1]
    ring.arm()
    assert kernel.consumer == kernel.end
