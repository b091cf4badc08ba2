"""Whether a version is affected: OSV's own evaluation algorithm, over versions that `univers` compares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from daemon.images.osv.ecosystems import version_class

# OSV: "0" is before every version.
_FIRST = "0"
_ORDER = {"introduced": 0, "last_affected": 1, "fixed": 2}


class Incomparable(Exception):
    """A version that is none of its ecosystem."""


@lru_cache(200_000)
def version(ecosystem: str, text: str) -> Any:
    try:
        return version_class(ecosystem)(text)
    except Exception as error:  # of `univers` and of what it parses with: no common class
        raise Incomparable(f"{text[:80]!a} is no version of {ecosystem}") from error


def affected(advisory: dict[str, Any], ecosystem: str, text: str) -> tuple[bool, str | None]:
    """And the version that fixes it, if one does. Raises Incomparable for `text`; a bound that is no version
    of the ecosystem counts as one that is not reached: rather a finding too many."""
    hit, fixed = text in (advisory.get("versions") or ()), None
    for span in advisory.get("ranges") or ():
        if span.get("type") != "GIT":
            inside, fix = _inside(span.get("events") or (), ecosystem, text)
            hit, fixed = hit or inside, fix if inside else fixed
    return hit, fixed


def _inside(events: Sequence[dict[str, str]], ecosystem: str, text: str) -> tuple[bool, str | None]:
    ours = version(ecosystem, text)
    marks = sorted(
        ((kind, bound) for event in events for kind, bound in event.items() if kind in _ORDER),
        key=lambda mark: _Key(ecosystem, *mark),
    )
    inside, fix = False, None
    for kind, bound in marks:
        if not inside and kind == "introduced":
            inside, fix = _reached(ours, ecosystem, bound), None
        elif inside and kind == "fixed":
            inside, fix = not _passed(ours, ecosystem, bound, itself=True), fix or bound
        elif inside and kind == "last_affected":
            inside = not _passed(ours, ecosystem, bound, itself=False)
    return inside, fix


class _Key:
    """Orders marks by version; of the same one, what opens a span before what ends it."""

    def __init__(self, ecosystem: str, kind: str, bound: str) -> None:
        self._ecosystem, self._kind, self._bound = ecosystem, kind, bound

    def __lt__(self, other: _Key) -> bool:
        if self._bound == other._bound:
            return _ORDER[self._kind] < _ORDER[other._kind]
        if _FIRST in (self._bound, other._bound):
            return self._bound == _FIRST
        try:
            return bool(version(self._ecosystem, self._bound) < version(self._ecosystem, other._bound))
        except Incomparable:
            return False


def _reached(ours: Any, ecosystem: str, bound: str) -> bool:
    if bound == _FIRST:
        return True
    try:
        return bool(ours >= version(ecosystem, bound))
    except Incomparable:
        return True


def _passed(ours: Any, ecosystem: str, bound: str, *, itself: bool) -> bool:
    try:
        limit = version(ecosystem, bound)
    except Incomparable:
        return False
    return bool(ours >= limit if itself else ours > limit)
