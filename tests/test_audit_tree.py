"""The tree against a root that Certificate Transparency tests with, and against itself."""

from __future__ import annotations

from hashlib import sha256

import pytest

from daemon.audit.proofs import (
    Hashes,
    consistency_proof,
    inclusion_proof,
    range_proof,
    root_from_proof,
    root_from_range,
    roots_from_consistency,
)
from daemon.audit.tree import Tree, leaf_hash, subtrees

LINES = [b'{"seq":%d}' % seq for seq in range(1, 34)]
LEAVES = [leaf_hash(line) for line in LINES]


def grown(lines: list[bytes]) -> Tree:
    tree = Tree()
    for line in lines:
        tree.append(line)
    return tree


def known(lines: list[bytes], retired: int = 0) -> Hashes:
    """Of the first `retired` only what stands for each ten of them."""
    hashes = Hashes()
    for begin in range(0, retired, 10):
        for level, root in subtrees(LEAVES[begin : min(begin + 10, retired)], begin):
            hashes.graft(level, root)
    for line in lines[retired:]:
        hashes.append(line)
    return hashes


def test_empty_tree_and_empty_leaf_are_those_of_the_rfc() -> None:
    assert Tree().root() == Hashes().root(0, 0) == sha256(b"").digest()
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_eight_leaves_have_the_root_that_certificate_transparency_tests_with() -> None:
    texts = (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
    tree = grown([bytes.fromhex(text) for text in texts])
    assert tree.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_three_leaves_by_hand() -> None:
    pair = sha256(b"\1" + LEAVES[0] + LEAVES[1]).digest()
    assert grown(LINES[:3]).root() == sha256(b"\1" + pair + LEAVES[2]).digest()


@pytest.mark.parametrize("size", range(1, len(LINES) + 1))
def test_growing_gives_the_root_of_the_whole_and_every_leaf_is_proved(size: int) -> None:
    hashes, root = known(LINES), grown(LINES[:size]).root()
    assert hashes.root(0, size) == root
    for index in range(size):
        proof = inclusion_proof(hashes, index, size)
        assert root_from_proof(LEAVES[index], index, size, proof) == root
        assert root_from_proof(leaf_hash(b"forged"), index, size, proof) != root


@pytest.mark.parametrize(
    "changed",
    [
        [*LINES[:9], b"edited", *LINES[10:]],
        [*LINES[:9], *LINES[10:]],
        [*LINES[:9], LINES[10], LINES[9], *LINES[11:]],
        [*LINES[:9], b"inserted", *LINES[9:]],
        LINES[:-1],
    ],
    ids=["edited", "deleted", "swapped", "inserted", "cut"],
)
def test_any_change_changes_the_root(changed: list[bytes]) -> None:
    assert grown(changed).root() != grown(LINES).root()


def test_proof_of_the_wrong_length_is_refused() -> None:
    proof = inclusion_proof(known(LINES), 5, len(LINES))
    for wrong in (proof[:-1], [*proof, b"\0" * 32]):
        with pytest.raises(ValueError, match="too"):
            root_from_proof(LEAVES[5], 5, len(LEAVES), wrong)
    with pytest.raises(IndexError):
        inclusion_proof(known(LINES), len(LINES), len(LINES))


@pytest.mark.parametrize("size", [1, 2, 7, 8, 13, 33])
def test_a_range_is_proved(size: int) -> None:
    hashes, root = known(LINES), grown(LINES[:size]).root()
    for first in range(size):
        for end in range(first + 1, size + 1):
            proof = range_proof(hashes, first, end, size)
            assert root_from_range(LEAVES[first:end], first, size, proof) == root
            forged = [*LEAVES[first : end - 1], leaf_hash(b"forged")]
            assert root_from_range(forged, first, size, proof) != root
            with pytest.raises(ValueError, match="too long"):
                root_from_range(LEAVES[first:end], first, size, [*proof, root])


@pytest.mark.parametrize("size", [1, 2, 7, 8, 13, 33])
def test_growth_is_proved(size: int) -> None:
    hashes, root = known(LINES), grown(LINES[:size]).root()
    for old in range(1, size + 1):
        old_root = grown(LINES[:old]).root()
        proof = consistency_proof(hashes, old, size)
        assert roots_from_consistency(old_root, old, size, proof) == (old_root, root)
        forged = grown([*LINES[: old - 1], b"forged"]).root()
        assert roots_from_consistency(forged, old, size, proof) != (forged, root)


def test_subtrees_stand_for_their_leaves() -> None:
    tree = Tree()
    for begin in range(0, len(LINES), 5):
        for level, root in subtrees(LEAVES[begin : begin + 5], begin):
            tree.graft(level, root)
        assert tree.root() == grown(LINES[: begin + 5]).root()
    assert Tree(tree.size, tree.peaks).root() == tree.root()
    with pytest.raises(ValueError, match="no subtree of 2 leaves begins at 33"):
        tree.graft(1, bytes(32))


def test_of_what_was_retired_growth_is_proved_and_later_lines() -> None:
    hashes, root = known(LINES, retired=20), grown(LINES).root()
    for old in (10, 20, 21, 33):
        old_root = grown(LINES[:old]).root()
        proof = consistency_proof(hashes, old, len(LINES))
        assert roots_from_consistency(old_root, old, len(LINES), proof) == (old_root, root)
    for index in range(20, len(LINES)):
        proof = inclusion_proof(hashes, index, len(LINES))
        assert root_from_proof(LEAVES[index], index, len(LINES), proof) == root
    with pytest.raises(IndexError):
        consistency_proof(hashes, 11, len(LINES))
