"""The root file system that layers make, as far as anything of it was kept: whiteouts and replacements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

NODES = 2_000_000


@dataclass(slots=True)
class _Node(Generic[T]):
    children: dict[str, _Node[T]] = field(default_factory=dict)
    layer: int = -1
    kept: T | None = None


class TreeFull(Exception):
    """More paths than can be kept."""


class Tree(Generic[T]):
    """`gone` gets what a later layer or entry hid."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._nodes = 0
        self.gone: list[T] = []

    def put(self, path: str, layer: int, kept: T) -> None:
        node = self._root
        for part in path.split("/"):
            if part not in node.children:
                self._nodes += 1
                if self._nodes > NODES:
                    raise TreeFull
                node.children[part] = _Node()
            node = node.children[part]
        node.layer, node.kept = layer, kept

    def get(self, path: str) -> T | None:
        node = self._find(path)
        return node.kept if node else None

    def replace(self, path: str, *, is_folder: bool) -> None:
        """An entry comes to be at `path`: a folder joins one that is there, all else replaces."""
        node = self._find(path)
        if node is None:
            return
        if not is_folder:
            self._hide(node.children, layer=None)
        self._forget(node)

    def remove(self, path: str, below_layer: int) -> None:
        """A whiteout: of what lower layers have, with all below it."""
        node = self._find(path)
        if node is not None:
            self.empty(path, below_layer)
            if node.layer < below_layer:
                self._forget(node)

    def empty(self, path: str, below_layer: int) -> None:
        """An opaque folder shows nothing of lower layers."""
        node = self._find(path) if path else self._root
        if node is not None:
            self._hide(node.children, below_layer)

    def items(self) -> Iterator[T]:
        pending = [self._root]
        while pending:
            node = pending.pop()
            pending += node.children.values()
            if node.kept is not None:
                yield node.kept

    def _find(self, path: str) -> _Node[T] | None:
        node = self._root
        for part in path.split("/"):
            child = node.children.get(part)
            if child is None:
                return None
            node = child
        return node

    def _forget(self, node: _Node[T]) -> None:
        if node.kept is not None:
            self.gone.append(node.kept)
            node.kept = None

    def _hide(self, children: dict[str, _Node[T]], layer: int | None) -> None:
        pending = [children]
        while pending:
            for node in pending.pop().values():
                if layer is None or node.layer < layer:
                    self._forget(node)
                pending.append(node.children)
        if layer is None:
            children.clear()
