"""Detectors: one technique a file, its rules beside its logic.

A detector is synchronous, keeps only state of its own, and returns findings: it never publishes, blocks or
does input or output. To add one: write it in the folder of its category and name it in that folder's list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from daemon.events import Event
from daemon.expectation import Expectation
from daemon.findings import Finding, Rule


class Detector(ABC):
    """Raises nothing; one that does is counted and audited, and the others go on."""

    rules: ClassVar[tuple[Rule, ...]]
    events: ClassVar[tuple[type[Event], ...]]
    """The kinds that `detect` is called with, subclasses included."""
    syscalls: ClassVar[frozenset[str]] = frozenset()
    """Calls that the sensor must report for this detector, by name (syscalls(2)). Opens need no mention."""
    names: ClassVar[frozenset[str]] = frozenset()
    """Last components of paths, at most 31 bytes each: their opens are reported even for reading, and even
    where no such file is. Writes, refusals, device nodes and kernel file systems are reported anyway."""

    @abstractmethod
    def detect(self, event: Event, sandbox: Expectation) -> Iterable[Finding]: ...

    def forget(self, sandbox: str) -> None:  # noqa: B027  # a detector without state has nothing to do
        """The sandbox has ended: drop what is kept of it. State must be bounded all the same."""
