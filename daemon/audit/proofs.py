"""Proofs that need no log (RFC 6962, sections 2.1.1 and 2.1.2): of a line, of a range of lines, of growth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

from daemon.audit.tree import leaf_hash, node_hash


class Hashes:
    """All that is known of a tree: subtrees at first, and from then on each leaf."""

    def __init__(self) -> None:
        self._subtrees: dict[tuple[int, int], bytes] = {}
        self._begin = 0
        self._leaves: list[bytes] = []

    @property
    def size(self) -> int:
        return self._begin + len(self._leaves)

    def graft(self, level: int, root: bytes) -> None:
        """A perfect subtree of 2**level leaves, of which none is known."""
        end = self._begin + (1 << level)
        self._subtrees[self._begin, end] = root
        self._begin = end

    def append(self, line: bytes) -> None:
        self._leaves.append(leaf_hash(line))

    def root(self, begin: int, end: int) -> bytes:
        """Of the leaves from `begin` up to `end`. Raises IndexError for some that are not known."""
        if begin == end:
            return sha256().digest()
        if (known := self._subtrees.get((begin, end))) is not None:
            return known
        if end - begin == 1:
            if not self._begin <= begin < self.size:
                raise IndexError(f"leaf {begin} is not known")
            return self._leaves[begin - self._begin]
        split = begin + _split(end - begin)
        return node_hash(self.root(begin, split), self.root(split, end))


def inclusion_proof(hashes: Hashes, index: int, size: int) -> list[bytes]:
    """Hashes beside the way from a leaf to the root, the lowest first. Raises IndexError."""
    if not 0 <= index < size <= hashes.size:
        raise IndexError(f"no leaf {index} in a tree of {size}")
    proof, begin, end = [], 0, size
    while end - begin > 1:
        split = begin + _split(end - begin)
        left = index < split
        proof.append(hashes.root(split, end) if left else hashes.root(begin, split))
        begin, end = (begin, split) if left else (split, end)
    return proof[::-1]


def root_from_proof(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """What the root must be if the proof is true. Raises ValueError for one of the wrong length."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    if size == 1:
        if proof:
            raise ValueError("the proof is too long")
        return leaf
    if not proof:
        raise ValueError("the proof is too short")
    split = _split(size)
    if index < split:
        return node_hash(root_from_proof(leaf, index, split, proof[:-1]), proof[-1])
    return node_hash(proof[-1], root_from_proof(leaf, index - split, size - split, proof[:-1]))


def range_proof(hashes: Hashes, first: int, end: int, size: int) -> list[bytes]:
    """Hashes of all that lies beside the leaves from `first` up to `end`, from left to right."""
    if not 0 <= first < end <= size <= hashes.size:
        raise IndexError(f"no leaves {first} to {end - 1} in a tree of {size}")

    def beside(begin: int, stop: int) -> Iterator[bytes]:
        if stop <= first or begin >= end:
            yield hashes.root(begin, stop)
        elif not (first <= begin and stop <= end):
            split = begin + _split(stop - begin)
            yield from beside(begin, split)
            yield from beside(split, stop)

    return list(beside(0, size))


def root_from_range(leaves: Sequence[bytes], first: int, size: int, proof: Sequence[bytes]) -> bytes:
    """What the root must be if the proof is true. Raises ValueError for one of the wrong length."""
    end, left = first + len(leaves), iter(proof)
    if not 0 <= first < end <= size:
        raise ValueError(f"no leaves {first} to {end - 1} in a tree of {size}")

    def root(begin: int, stop: int) -> bytes:
        if stop <= first or begin >= end:
            if (node := next(left, None)) is None:
                raise ValueError("the proof is too short")
            return node
        if stop - begin == 1:
            return leaves[begin - first]
        split = begin + _split(stop - begin)
        return node_hash(root(begin, split), root(split, stop))

    found = root(0, size)
    if next(left, None) is not None:
        raise ValueError("the proof is too long")
    return found


def consistency_proof(hashes: Hashes, old: int, size: int) -> list[bytes]:
    """That a tree of `size` goes on from one of `old` leaves. Raises IndexError where too little is known."""
    if not 0 < old <= size <= hashes.size:
        raise IndexError(f"no tree of {old} in one of {size}")
    proof, begin, end, whole = [], 0, size, True
    while old < end:
        split = begin + _split(end - begin)
        if old <= split:
            proof.append(hashes.root(split, end))
            end = split
        else:
            proof.append(hashes.root(begin, split))
            begin, whole = split, False
    return ([] if whole else [hashes.root(begin, end)]) + proof[::-1]


def roots_from_consistency(
    old_root: bytes, old: int, size: int, proof: Sequence[bytes], *, whole: bool = True
) -> tuple[bytes, bytes]:
    """What both roots must be if the proof is true. Raises ValueError for one of the wrong length."""
    if not 0 < old <= size:
        raise ValueError(f"no tree of {old} in one of {size}")
    if old == size:
        if len(proof) != (0 if whole else 1):
            raise ValueError("the proof is of the wrong length")
        return (old_root, old_root) if whole else (proof[0], proof[0])
    if not proof:
        raise ValueError("the proof is too short")
    split, last = _split(size), proof[-1]
    if old <= split:
        before, after = roots_from_consistency(old_root, old, split, proof[:-1], whole=whole)
        return before, node_hash(after, last)
    before, after = roots_from_consistency(old_root, old - split, size - split, proof[:-1], whole=False)
    return node_hash(last, before), node_hash(last, after)


def _split(size: int) -> int:
    """The largest power of two below it."""
    return 1 << ((size - 1).bit_length() - 1)
