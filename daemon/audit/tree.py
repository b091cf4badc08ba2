"""The Merkle tree of RFC 6962 (section 2.1): one hash stands for every line of the log, in its order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256


def leaf_hash(line: bytes) -> bytes:
    """Of a line without its newline."""
    return sha256(b"\0" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


class Tree:
    """Grows by one leaf at a time and keeps one hash for each bit of its size."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Goes on from a tree of that size with those `peaks`. Raises ValueError if there must be others."""
        if len(peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} has {size.bit_count()} peaks, not {len(peaks)}")
        self.size = size
        self._peaks = list(peaks)

    @property
    def peaks(self) -> list[bytes]:
        """Roots of the perfect subtrees, from the largest to the smallest."""
        return list(self._peaks)

    def copy(self) -> Tree:
        return Tree(self.size, self._peaks)

    def append(self, line: bytes) -> None:
        peak = leaf_hash(line)
        size = self.size
        while size & 1:
            peak = node_hash(self._peaks.pop(), peak)
            size >>= 1
        self._peaks.append(peak)
        self.size += 1

    def graft(self, level: int, peak: bytes) -> None:
        """A perfect subtree of 2**level leaves at once. Raises ValueError where none can begin."""
        size = self.size >> level
        if size << level != self.size:
            raise ValueError(f"no subtree of {1 << level} leaves begins at {self.size}")
        while size & 1:
            peak = node_hash(self._peaks.pop(), peak)
            size >>= 1
        self._peaks.append(peak)
        self.size += 1 << level

    def root(self) -> bytes:
        """That of the empty tree is the hash of nothing."""
        if not self._peaks:
            return sha256().digest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def subtrees(leaves: Iterable[bytes], begin: int) -> list[tuple[int, bytes]]:
    """The fewest perfect subtrees, as (level, root), of these leaf hashes, the first of them at `begin`."""
    found: list[tuple[int, bytes]] = []
    for index, leaf in enumerate(leaves, begin):
        level, peak, at = 0, leaf, index
        while found and found[-1][0] == level and at >> level & 1:
            peak = node_hash(found.pop()[1], peak)
            at -= 1 << level
            level += 1
        found.append((level, peak))
    return found
