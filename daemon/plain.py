"""Values that an attacker chose, as JSON has them, and bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

TEXT_LIMIT = 1024
ITEMS_LIMIT = 32
DEPTH_LIMIT = 4

T = TypeVar("T")


def plain(value: Any, depth: int = 0) -> Any:
    """As JSON has it; what is no text, number, list or object is given as its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return value[:TEXT_LIMIT].hex()
    if isinstance(value, dict) and depth < DEPTH_LIMIT:
        return {text(str(k)): plain(v, depth + 1) for k, v in list(value.items())[:ITEMS_LIMIT]}
    if isinstance(value, list | tuple | set | frozenset) and depth < DEPTH_LIMIT:
        return [plain(item, depth + 1) for item in list(value)[:ITEMS_LIMIT]]
    return text(str(value))


def text(value: str) -> str:
    """What is no Unicode (file names need not be) is escaped, not lost."""
    text = value[: TEXT_LIMIT + 1].encode("utf-8", "backslashreplace").decode()
    return text if len(value) <= TEXT_LIMIT else text[:TEXT_LIMIT] + f"... ({len(value)} characters)"


def within(items: Iterable[T], size: Callable[[T], int], limit_bytes: int) -> list[T]:
    """As many of the first as fit."""
    kept = []
    for item in items:
        limit_bytes -= size(item)
        if limit_bytes < 0:
            break
        kept.append(item)
    return kept
