"""What is installed in an image, by the records that each package manager leaves: one file a manager."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from daemon.images.packages import apk, dpkg, npm, python, rpm
from daemon.images.packages.package import Package, Unreadable


class Manager(Protocol):
    MOST_BYTES: int

    def wanted(self, path: str) -> bool:
        """Whether a file of the image, by its path relative to the root, is a record of this manager."""

    def read(self, path: str, content: bytes) -> Iterable[Package]:
        """Raises Unreadable where it is a record and yet tells nothing."""


MANAGERS: tuple[Manager, ...] = (dpkg, apk, rpm, python, npm)

__all__ = ["MANAGERS", "Manager", "Package", "Unreadable"]
