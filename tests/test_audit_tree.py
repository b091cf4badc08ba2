"""The tree against a root that Certificate Transparency tests with, and against itself."""

from __future__ import annotations

from hashlib import sha256

import pytest

from daemon.audit.tree import Tree, inclusion_proof, leaf_hash, root_from_proof, root_of

LINES = [b'{"seq":%d}' % seq for seq in range(1, 34)]
LEAVES = [leaf_hash(line) for line in LINES]


def grown(lines: list[bytes]) -> Tree:
    tree = Tree()
    for line in lines:
        tree.append(line)
    return tree


def test_empty_tree_and_empty_leaf_are_those_of_the_rfc() -> None:
    assert Tree().root() == root_of([]) == sha256(b"").digest()
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
    leaves, root = LEAVES[:size], grown(LINES[:size]).root()
    assert root_of(leaves) == root
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        assert root_from_proof(leaves[index], index, size, proof) == root
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
    proof = inclusion_proof(LEAVES, 5)
    for wrong in (proof[:-1], [*proof, b"\0" * 32]):
        with pytest.raises(ValueError, match="too"):
            root_from_proof(LEAVES[5], 5, len(LEAVES), wrong)
    with pytest.raises(IndexError):
        inclusion_proof(LEAVES, len(LEAVES))
